import type { IncomingMessage } from "node:http";
import { request } from "node:https";
import { text as readText } from "node:stream/consumers";
import { systemCode } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import { z } from "zod";
import type { PodAccount } from "./account.ts";

/** One Secret's files by name, and the version they were read at. */
export interface SecretFiles {
  readonly files: ReadonlyMap<string, Buffer>;
  readonly resourceVersion: string;
}

const SECRET = z.object({
  metadata: z.object({ resourceVersion: z.string() }),
  data: z.record(z.string(), z.base64()).nullish(),
});
const STATUS = z.object({ message: z.string().max(1_024) });
const TIMEOUT_MS = 15_000;

/** @throws ConnectError `CC_APISERVER_UNREACHABLE`, or `CC_PERMISSION_MISSING` when the account may not. */
export async function readSecret(
  name: string,
  account: PodAccount,
  options: { readonly signal: AbortSignal },
): Promise<SecretFiles> {
  const found = SECRET.safeParse(await ask("GET", name, undefined, account, options));
  if (!found.success) throw new ConnectError("CC_APISERVER_UNREACHABLE", `Secret ${name}: the answer is no Secret`);
  const entries = Object.entries(found.data.data ?? {});
  return {
    files: new Map(entries.map(([file, content]) => [file, Buffer.from(content, "base64")])),
    resourceVersion: found.data.metadata.resourceVersion,
  };
}

/**
 * Adds files to a Secret or replaces them; others stay.
 *
 * @throws ConnectError as {@link readSecret}.
 */
export async function writeSecret(
  name: string,
  files: ReadonlyMap<string, Buffer>,
  account: PodAccount,
  options: { readonly signal: AbortSignal },
): Promise<void> {
  const data = Object.fromEntries([...files].map(([file, content]) => [file, content.toString("base64")]));
  await ask("PATCH", name, JSON.stringify({ data }), account, options);
}

async function ask(
  method: "GET" | "PATCH",
  name: string,
  body: string | undefined,
  account: PodAccount,
  options: { readonly signal: AbortSignal },
): Promise<unknown> {
  const url = new URL(`/api/v1/namespaces/${account.namespace}/secrets/${encodeURIComponent(name)}`, account.url);
  const { status, text } = await send(method, url, body, account, options);
  const answer = parseJson(text);
  if (status === 200) return answer;
  const said = STATUS.safeParse(answer);
  const reason = `Secret ${name}: ${said.success ? said.data.message : `the apiserver answered ${status}`}`;
  if (status === 401 || status === 403 || status === 404) throw new ConnectError("CC_PERMISSION_MISSING", reason);
  throw new ConnectError("CC_APISERVER_UNREACHABLE", reason);
}

function send(
  method: string,
  url: URL,
  body: string | undefined,
  { ca, token }: PodAccount,
  options: { readonly signal: AbortSignal },
): Promise<{ readonly status: number; readonly text: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; text: string }>();
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(TIMEOUT_MS)]);
  const headers = {
    accept: "application/json",
    authorization: `Bearer ${token}`,
    ...(body === undefined ? {} : { "content-type": "application/merge-patch+json" }),
  };
  const outgoing = request(url, { method, ca, headers, signal, agent: false });
  outgoing.on("response", (response: IncomingMessage) => {
    readText(response).then((text) => resolve({ status: response.statusCode ?? 0, text }), reject);
  });
  outgoing.on("error", reject);
  outgoing.end(body);
  return promise.catch((cause: unknown) => {
    const code = systemCode(cause) || "no answer";
    throw new ConnectError("CC_APISERVER_UNREACHABLE", `The kube-apiserver ${url.host} did not answer: ${code}`, {
      cause,
    });
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
