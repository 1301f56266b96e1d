import type { ClientRequest, IncomingMessage } from "node:http";
import { Agent, request as httpsRequest } from "node:https";
import type { TLSSocket } from "node:tls";
import { ConnectError } from "@cluster-connect/protocol";
import { MAX_HEADER_BYTES, UPSTREAM_DIAL_MS, UPSTREAM_IDLE_MS } from "./limits.ts";

const UNTRUSTED: ReadonlySet<string> = new Set([
  "SELF_SIGNED_CERT_IN_CHAIN",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "CERT_SIGNATURE_FAILURE",
]);

/** One request to the apiserver, ready to be sent as it is. */
export interface UpstreamRequest {
  readonly method: string;
  /** Sent verbatim. */
  readonly target: string;
  /** Names and values in turn, complete: nothing is added but what keeps the stream open. */
  readonly headers: string[];
  /** Takes a stream of its own, which is not used again. */
  readonly upgrade?: boolean;
}

/** The fixed host that every request goes to. */
export interface Upstream {
  /** Value of the Host header. */
  readonly host: string;
  /** Starts a request; its body is the caller's to send. */
  open(request: UpstreamRequest): ClientRequest;
  /** Closes what is idle and what is not. */
  close(): void;
}

/** @param deps.ca PEM of the apiserver's authority; a change takes effect for the next stream that is dialed. */
export function createUpstream(url: string, deps: { readonly ca: () => string }): Upstream {
  const { hostname, port, host } = new URL(url);
  const address = { host: hostname.replace(/^\[(.*)\]$/, "$1"), port: port === "" ? 443 : Number(port) };
  const all: Agent[] = [];
  let current: { readonly ca: string; readonly pooled: Agent; readonly single: Agent } | undefined;

  function agents(): { readonly pooled: Agent; readonly single: Agent } {
    const ca = deps.ca();
    if (current?.ca !== ca) {
      // Requests under way keep the former agents; their idle streams end by themselves.
      const shared = { ca, maxCachedSessions: 100, noDelay: true };
      const pooled = new Agent({ ...shared, keepAlive: true, maxFreeSockets: 64, timeout: UPSTREAM_IDLE_MS });
      const single = new Agent({ ...shared, keepAlive: false });
      all.push(pooled, single);
      current = { ca, pooled, single };
    }
    return current;
  }

  return {
    host,
    open({ method, target, headers, upgrade = false }) {
      const { pooled, single } = agents();
      const outgoing = httpsRequest({
        ...address,
        method,
        path: target,
        headers,
        setDefaultHeaders: false,
        agent: upgrade ? single : pooled,
        maxHeaderSize: MAX_HEADER_BYTES,
      });
      limitDial(outgoing);
      return outgoing;
    },
    close() {
      for (const agent of all) agent.destroy();
    },
  };
}

/** Resolves with the answer's head. @throws ConnectError `CC_APISERVER_UNREACHABLE` when there is none. */
export function answerTo(outgoing: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    outgoing.once("response", resolve);
    outgoing.once("error", (cause) => reject(unreachable(cause)));
    outgoing.once("close", () => reject(unreachable(new Error("closed"))));
  });
}

/** Why the apiserver could not be asked, without what the request held. */
export function unreachable(cause: unknown): ConnectError {
  if (cause instanceof ConnectError) return cause;
  const reason = cause instanceof Error && "code" in cause ? String(cause.code) : "the stream broke off";
  return new ConnectError("CC_APISERVER_UNREACHABLE", `The kube-apiserver did not answer: ${reason}`, { cause });
}

/** Whether the stream was closed while nothing had come back. */
export function isReset(error: unknown): boolean {
  const code = causeCode(error);
  return code === "ECONNRESET" || code === "EPIPE";
}

/** Whether the apiserver's certificate is not of an authority that we know; nothing was sent then. */
export function isUntrusted(error: unknown): boolean {
  return UNTRUSTED.has(causeCode(error) ?? "");
}

function causeCode(error: unknown): string | undefined {
  const cause = error instanceof Error ? error.cause : undefined;
  return cause instanceof Error && "code" in cause ? String(cause.code) : undefined;
}

function limitDial(outgoing: ClientRequest): void {
  outgoing.once("socket", (socket: TLSSocket) => {
    if (outgoing.reusedSocket || !socket.connecting) return;
    const timer = setTimeout(() => {
      outgoing.destroy(new ConnectError("CC_APISERVER_UNREACHABLE", "The kube-apiserver could not be dialed in time"));
    }, UPSTREAM_DIAL_MS);
    const clear = (): void => clearTimeout(timer);
    socket.once("secureConnect", clear);
    socket.once("close", clear);
  });
}
