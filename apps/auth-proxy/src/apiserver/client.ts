import type { IncomingMessage } from "node:http";
import { type Clock, onAbort } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import { withDeadline } from "../limits/deadline.ts";
import { MAX_REVIEW_BYTES, REVIEW_TIMEOUT_MS } from "../limits/limits.ts";
import { answerTo, unreachable } from "./answer.ts";
import type { ServiceAccount } from "./service-account.ts";
import type { Upstream } from "./upstream.ts";

/** The answer to one of our own requests. */
export interface ApiAnswer {
  readonly status: number;
  /** Parsed when it is JSON, else undefined. */
  readonly body: unknown;
}

/** Our own few requests to the apiserver, as our own service account. */
export interface ApiserverClient {
  get(target: string, options: { readonly signal: AbortSignal }): Promise<ApiAnswer>;
  /** @throws ConnectError `CC_APISERVER_UNREACHABLE` unless the object was accepted. */
  create(target: string, object: object, options: { readonly signal: AbortSignal }): Promise<unknown>;
}

/** A token that the apiserver refuses is read anew and the request sent once more. */
export function createApiserverClient(
  upstream: Upstream,
  account: ServiceAccount,
  deps: { readonly clock: Pick<Clock, "setTimer"> },
): ApiserverClient {
  async function send(
    method: string,
    target: string,
    body: Buffer | undefined,
    signal: AbortSignal,
  ): Promise<ApiAnswer> {
    const token = account.token();
    const answer = await sendOnce(upstream, { method, target, body, token }, signal, deps.clock);
    if (answer.status !== 401 || !(await account.refused(token))) return answer;
    return sendOnce(upstream, { method, target, body, token: account.token() }, signal, deps.clock);
  }
  return {
    get: (target, { signal }) => send("GET", target, undefined, signal),
    async create(target, object, { signal }) {
      const { status, body } = await send("POST", target, Buffer.from(JSON.stringify(object)), signal);
      if (status === 201 || status === 200) return body;
      throw new ConnectError("CC_APISERVER_UNREACHABLE", `The kube-apiserver answered ${status} to ${target}`);
    },
  };
}

interface OwnRequest {
  readonly method: string;
  readonly target: string;
  readonly body: Buffer | undefined;
  readonly token: string;
}

async function sendOnce(
  upstream: Upstream,
  request: OwnRequest,
  signal: AbortSignal,
  clock: Pick<Clock, "setTimer">,
): Promise<ApiAnswer> {
  const { method, target, body, token } = request;
  const framing = body === undefined ? [] : ["Content-Type", "application/json", "Content-Length", String(body.length)];
  const headers = [
    "Host",
    upstream.host,
    "Accept",
    "application/json",
    "User-Agent",
    "cluster-connect-auth-proxy",
    ...framing,
    "Authorization",
    `Bearer ${token}`,
  ];
  const what = "A request to the kube-apiserver";
  const ask = async (deadline: AbortSignal): Promise<ApiAnswer> => {
    const outgoing = upstream.open({ method, target, headers });
    onAbort(deadline, () => outgoing.destroy());
    outgoing.end(body);
    try {
      const answer = await answerTo(outgoing);
      return { status: answer.statusCode ?? 0, body: parseJson(await readAll(answer)) };
    } catch (cause) {
      throw deadline.aborted ? deadline.reason : unreachable(cause);
    }
  };
  return withDeadline({ ms: REVIEW_TIMEOUT_MS, what, signal }, ask, clock);
}

async function readAll(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of answer) {
    const part = Buffer.from(chunk);
    bytes += part.length;
    if (bytes > MAX_REVIEW_BYTES)
      throw new ConnectError("CC_APISERVER_UNREACHABLE", "The kube-apiserver's answer is too long");
    chunks.push(part);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A field of parsed JSON by its path; undefined when anything on the way is no object. */
export function fieldOf(value: unknown, ...path: readonly string[]): unknown {
  return path.reduce<unknown>((inner, name) => {
    if (typeof inner !== "object" || inner === null || !Object.hasOwn(inner, name)) return undefined;
    return Object.entries(inner).find(([own]) => own === name)?.[1];
  }, value);
}
