import type { IncomingMessage } from "node:http";
import type { SecureContextOptions } from "node:tls";
import { ConnectError, type ErrorCode, HANDSHAKE_TIMEOUT_MS, SUBPROTOCOL } from "@cluster-connect/protocol";
import { WebSocket } from "ws";
import type { MessageChannel } from "../channel.ts";
import { webSocketChannel } from "./channel.ts";
import { WEB_SOCKET_OPTIONS } from "./options.ts";
import { readRefusal } from "./refusal.ts";

export interface DialWebSocketOptions {
  readonly signal: AbortSignal;
  /** Sent with the upgrade request; never logged. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Authorities and own certificate; without `ca` the machine's authorities are used. */
  readonly tls?: Pick<SecureContextOptions, "ca" | "cert" | "key"> & { readonly servername?: string };
  /** From dial to the answer of the upgrade. */
  readonly timeoutMs?: number;
}

/**
 * Opens a channel.
 *
 * @param url `wss:` or `https:`; `ws:` and `http:` without TLS.
 * @throws ConnectError, naming host and reason: `CC_RELAY_UNREACHABLE` when nothing answers, `CC_TLS_UNTRUSTED` when
 *   the certificate does not pass, the code in the body of a refused upgrade, else `CC_RELAY_REFUSED`. The signal's
 *   reason when it is aborted.
 */
export async function dialWebSocket(url: URL, options: DialWebSocketOptions): Promise<MessageChannel> {
  const { signal } = options;
  signal.throwIfAborted();
  const socket = new WebSocket(url, SUBPROTOCOL, {
    ...WEB_SOCKET_OPTIONS,
    ...options.tls,
    headers: { ...options.headers },
    handshakeTimeout: options.timeoutMs ?? HANDSHAKE_TIMEOUT_MS,
  });
  return await new Promise<MessageChannel>((resolve, reject) => {
    const fail = (error: unknown): void => {
      signal.removeEventListener("abort", onAbort);
      socket.on("error", () => {});
      socket.terminate();
      reject(error);
    };
    const onAbort = (): void => fail(signal.reason);
    const onError = (error: Error): void => fail(dialError(url.host, error));
    signal.addEventListener("abort", onAbort, { once: true });
    socket.once("error", onError);
    socket.once("unexpected-response", (_request, response: IncomingMessage) => {
      socket.removeListener("error", onError);
      readRefusal(url.host, response).then(fail, fail);
    });
    socket.once("open", () => {
      signal.removeEventListener("abort", onAbort);
      socket.removeListener("error", onError);
      resolve(webSocketChannel(socket));
    });
  });
}

function dialError(host: string, error: Error): ConnectError {
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  if (isCertificateProblem(code)) {
    return new ConnectError("CC_TLS_UNTRUSTED", `The certificate of ${host} is not trusted: ${code}`, { cause: error });
  }
  if (code === "" && error.message.startsWith("Server sent")) {
    return new ConnectError("CC_RELAY_REFUSED", `${host} does not speak ${SUBPROTOCOL}`, { cause: error });
  }
  const reason = REASONS[code] ?? (code === "" ? error.message : code);
  const found: ErrorCode = "CC_RELAY_UNREACHABLE";
  return new ConnectError(found, `${host} cannot be reached: ${reason}`, { cause: error });
}

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "the connection was broken off",
  EHOSTUNREACH: "no route to the host",
  ENETUNREACH: "no route to the network",
  ENOTFOUND: "the name does not resolve",
  EAI_AGAIN: "the name server does not answer",
  ETIMEDOUT: "no answer in time",
  EPROTO: "it does not speak TLS",
};

function isCertificateProblem(code: string): boolean {
  return /CERT|SELF_SIGNED|UNABLE_TO_|ERR_TLS_CERT|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE/.test(code);
}
