import { request } from "node:http";
import type { Duplex } from "node:stream";
import { text } from "node:stream/consumers";
import { connect, type TLSSocket } from "node:tls";
import { ConnectError, isErrorCode } from "@cluster-connect/protocol";
import { systemCode } from "./files/system-error.ts";
import { isCertificateProblem } from "./network-error.ts";

/** The way to one cluster, to be tried from end to end. */
export interface ReadyCheck {
  /** How messages call the cluster. */
  readonly cluster: string;
  readonly serverName: string;
  /** Accepted authorities, PEM. */
  readonly authorities: string;
  readonly token: string;
}

export interface ReadyAnswer {
  /** Of the kube-apiserver; undefined where the caller may not see it, which still proves the way. */
  readonly version: string | undefined;
  readonly durationMs: number;
}

const TIMEOUT_MS = 10_000;

/**
 * Asks the kube-apiserver for its version, through relay, agent and auth proxy, with TLS to the auth proxy.
 *
 * @param open gives the stream that carries the question.
 * @throws ConnectError that names the hop which is missing, or what the cluster does not like about the caller.
 */
export async function checkReady(
  check: ReadyCheck,
  options: { readonly signal: AbortSignal },
  open: (options: { readonly signal: AbortSignal }) => Promise<Duplex>,
): Promise<ReadyAnswer> {
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(TIMEOUT_MS)]);
  const startedAt = performance.now();
  let stream: Duplex | undefined;
  try {
    stream = await open({ signal });
    const tls = await secure(stream, check, signal);
    const { status, body } = await get(tls, check, signal);
    const durationMs = performance.now() - startedAt;
    if (status === 200) return { version: versionOf(body), durationMs };
    if (status === 403) return { version: undefined, durationMs };
    throw statusError(check.cluster, status, body);
  } catch (error) {
    options.signal.throwIfAborted();
    if (signal.aborted) throw new ConnectError("CC_TIMEOUT", `${check.cluster} did not answer within 10 s`);
    throw explain(check, error, stream);
  } finally {
    stream?.destroy();
  }
}

async function secure(stream: Duplex, check: ReadyCheck, signal: AbortSignal): Promise<TLSSocket> {
  const { authorities: ca, serverName: servername } = check;
  return await new Promise((resolve, reject) => {
    const socket = connect({ socket: stream, ca, servername, minVersion: "TLSv1.2", ALPNProtocols: ["http/1.1"] });
    const onAbort = (): void => {
      socket.destroy();
      reject(signal.reason);
    };
    signal.addEventListener("abort", onAbort, { once: true });
    stream.once("error", reject);
    socket.once("error", reject);
    socket.once("secureConnect", () => {
      signal.removeEventListener("abort", onAbort);
      resolve(socket);
    });
  });
}

async function get(
  socket: TLSSocket,
  check: ReadyCheck,
  signal: AbortSignal,
): Promise<{ readonly status: number; readonly body: string }> {
  const headers = { authorization: `Bearer ${check.token}`, accept: "application/json", connection: "close" };
  return await new Promise((resolve, reject) => {
    const asked = request({
      createConnection: () => socket,
      host: check.serverName,
      path: "/version",
      headers,
      signal,
    });
    asked.once("error", reject);
    asked.once("response", (response) => {
      text(response).then((body) => resolve({ status: response.statusCode ?? 0, body }), reject);
    });
    asked.end();
  });
}

function versionOf(body: string): string | undefined {
  const version = fieldOf(parseJson(body), "gitVersion");
  return typeof version === "string" && /^[\w.+-]{1,64}$/.test(version) ? version : undefined;
}

/** What the cluster said, with the code that our auth proxy puts into its `Status`. */
function statusError(cluster: string, status: number, body: string): ConnectError {
  const parsed = parseJson(body);
  const said = fieldOf(parsed, "message");
  const causes = fieldOf(fieldOf(parsed, "details"), "causes");
  const reason = fieldOf(Array.isArray(causes) ? causes[0] : undefined, "reason");
  const message =
    typeof said === "string" ? said.replaceAll(/[\s\p{Cc}]+/gu, " ").slice(0, 300) : `HTTP status ${status}`;
  const code = isErrorCode(reason) ? reason : status === 401 ? "CC_TOKEN_INVALID" : "CC_APISERVER_UNREACHABLE";
  return new ConnectError(code, `${cluster}: ${message.replace(` (${code})`, "")}`);
}

function explain(check: ReadyCheck, error: unknown, stream: Duplex | undefined): ConnectError {
  // A stream that was refused or reset ends the TLS on top of it; its own error says more.
  const cause = stream?.errored instanceof ConnectError ? stream.errored : error;
  if (cause instanceof ConnectError) return cause;
  const code = systemCode(cause);
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    return new ConnectError("CC_TLS_UNTRUSTED", `The certificate of ${check.cluster} is not for ${check.serverName}`, {
      hint: "The tunnel leads to another cluster, or to something in between: ask the cluster's administrator.",
      cause,
    });
  }
  if (isCertificateProblem(code)) {
    return new ConnectError(
      "CC_CLUSTER_CA_CHANGED",
      `${check.cluster} shows a certificate that its accepted authority did not sign (${code})`,
      { cause },
    );
  }
  return new ConnectError(
    "CC_UPSTREAM_UNREACHABLE",
    `The connection to the auth proxy of ${check.cluster} broke off (${code === "" ? "no reason given" : code})`,
    { cause },
  );
}

function parseJson(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? Object.getOwnPropertyDescriptor(value, name)?.value : undefined;
}
