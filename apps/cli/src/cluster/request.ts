import { request } from "node:http";
import type { Duplex } from "node:stream";
import { text } from "node:stream/consumers";
import { connect, type TLSSocket } from "node:tls";
import { onAbort, systemCode } from "@cluster-connect/base";
import { ConnectError, isErrorCode } from "@cluster-connect/protocol";
import { parseJson } from "../json.ts";
import { CERTIFICATE_TIME_HINT, isCertificateProblem, isTimeProblem } from "../relay/network-error.ts";
import type { PendingAuthority } from "./pending-authority.ts";

/** A cluster as it is asked through a stream. */
export interface ClusterEnd {
  /** How messages call the cluster. */
  readonly cluster: string;
  readonly serverName: string;
  /** Accepted authorities, PEM. */
  readonly authorities: string;
  readonly token: string;
  /** Another authority that the relay says waits to be accepted. */
  readonly pending?: PendingAuthority | undefined;
}

/** One request to a cluster. */
export interface ClusterQuestion {
  readonly path: string;
  /** JSON, which makes it a POST. */
  readonly body?: unknown;
}

export interface ClusterAnswer {
  readonly status: number;
  /** Undefined when it was not JSON. */
  readonly body: unknown;
  readonly durationMs: number;
}

export type OpenClusterStream = (options: { readonly signal: AbortSignal }) => Promise<Duplex>;

const TIMEOUT_MS = 10_000;

/**
 * Asks a kube-apiserver through relay, agent and auth proxy, with TLS to the auth proxy.
 *
 * @param open gives the stream that carries the question.
 * @throws ConnectError that names the hop which is missing; an answer with any status is an answer.
 */
export async function askCluster(
  end: ClusterEnd,
  question: ClusterQuestion,
  options: { readonly signal: AbortSignal },
  open: OpenClusterStream,
): Promise<ClusterAnswer> {
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(TIMEOUT_MS)]);
  const startedAt = performance.now();
  let stream: Duplex | undefined;
  try {
    stream = await open({ signal });
    const tls = await openTls(stream, end, signal);
    const { status, body } = await sendRequest(tls, end, question, signal);
    return { status, body: parseJson(body), durationMs: performance.now() - startedAt };
  } catch (error) {
    options.signal.throwIfAborted();
    if (signal.aborted) throw new ConnectError("CC_TIMEOUT", `${end.cluster} did not answer within 10 s`);
    throw explainFailure(end, error, stream);
  } finally {
    stream?.destroy();
  }
}

/** The error of a cluster's `Status`, with the code that our auth proxy puts into it. */
export function statusError(cluster: string, answer: ClusterAnswer): ConnectError {
  const { status, body } = answer;
  const said = fieldOf(body, "message");
  const causes = fieldOf(fieldOf(body, "details"), "causes");
  const reason = fieldOf(Array.isArray(causes) ? causes[0] : undefined, "reason");
  const message =
    typeof said === "string" ? said.replaceAll(/[\s\p{Cc}]+/gu, " ").slice(0, 300) : `HTTP status ${status}`;
  const code = isErrorCode(reason) ? reason : status === 401 ? "CC_TOKEN_INVALID" : "CC_APISERVER_UNREACHABLE";
  return new ConnectError(code, `${cluster}: ${message.replace(` (${code})`, "")}`);
}

/** An own field of a value that came from elsewhere. */
export function fieldOf(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? Object.getOwnPropertyDescriptor(value, name)?.value : undefined;
}

async function openTls(stream: Duplex, end: ClusterEnd, signal: AbortSignal): Promise<TLSSocket> {
  const { authorities: ca, serverName: servername } = end;
  return await new Promise((resolve, reject) => {
    const socket = connect({ socket: stream, ca, servername, minVersion: "TLSv1.2", ALPNProtocols: ["http/1.1"] });
    const leave = onAbort(signal, () => {
      socket.destroy();
      reject(signal.reason);
    });
    stream.on("error", reject);
    socket.on("error", reject);
    socket.once("secureConnect", () => {
      leave();
      resolve(socket);
    });
  });
}

async function sendRequest(
  socket: TLSSocket,
  end: ClusterEnd,
  question: ClusterQuestion,
  signal: AbortSignal,
): Promise<{ readonly status: number; readonly body: string }> {
  const content = question.body === undefined ? undefined : JSON.stringify(question.body);
  const headers = {
    authorization: `Bearer ${end.token}`,
    accept: "application/json",
    connection: "close",
    ...(content === undefined
      ? {}
      : { "content-type": "application/json", "content-length": Buffer.byteLength(content) }),
  };
  return await new Promise((resolve, reject) => {
    const asked = request({
      createConnection: () => socket,
      host: end.serverName,
      method: content === undefined ? "GET" : "POST",
      path: question.path,
      headers,
      signal,
    });
    asked.on("error", reject);
    asked.once("response", (response) => {
      text(response).then((body) => resolve({ status: response.statusCode ?? 0, body }), reject);
    });
    asked.end(content);
  });
}

function explainFailure(end: ClusterEnd, error: unknown, stream: Duplex | undefined): ConnectError {
  // A stream that was refused or reset ends the TLS on top of it; its own error says more.
  const cause = stream?.errored instanceof ConnectError ? stream.errored : error;
  if (cause instanceof ConnectError) return cause;
  const code = systemCode(cause);
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    return new ConnectError("CC_TLS_UNTRUSTED", `The certificate of ${end.cluster} is not for ${end.serverName}`, {
      hint: "The tunnel leads to another cluster, or to something in between: ask the cluster's administrator.",
      cause,
    });
  }
  // Its signer was found: nothing is said of another authority, which somebody might then trust.
  if (isTimeProblem(code)) {
    const message = `The certificate of ${end.cluster} is not good at this time (${code})`;
    return new ConnectError("CC_TLS_UNTRUSTED", message, { hint: CERTIFICATE_TIME_HINT, cause });
  }
  if (isCertificateProblem(code)) {
    const { pending } = end;
    return new ConnectError(
      "CC_CLUSTER_CA_CHANGED",
      `${end.cluster} shows a certificate that its accepted authority did not sign (${code})${pending === undefined ? "" : `. ${pending.text}`}`,
      { cause, ...(pending === undefined ? {} : { hint: pending.hint }) },
    );
  }
  return new ConnectError(
    "CC_UPSTREAM_UNREACHABLE",
    `The connection to the auth proxy of ${end.cluster} broke off (${code === "" ? "no reason given" : code})`,
    { cause },
  );
}
