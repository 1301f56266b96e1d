import type { IncomingMessage } from "node:http";
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { toConnectError } from "@cluster-connect/protocol";
import type { MessageChannel } from "../channel.ts";
import { socketChannel } from "./channel.ts";
import { SYSTEM_WEB_SOCKET_DEPS, type WebSocketDeps } from "./deps.ts";
import { answerUpgrade } from "./handshake.ts";
import { refuseUpgrade } from "./refusal.ts";

/**
 * Turns an upgrade request into a channel; for the `upgrade` event of an HTTP server, after the caller was judged.
 *
 * @returns undefined when the request is no WebSocket upgrade with our subprotocol: it was answered and is over.
 */
export function acceptWebSocket(
  request: IncomingMessage,
  socket: Duplex,
  head: Uint8Array,
  deps: WebSocketDeps = SYSTEM_WEB_SOCKET_DEPS,
): MessageChannel | undefined {
  try {
    const lines = answerUpgrade(request);
    socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  } catch (error) {
    refuseUpgrade(socket, toConnectError(error));
    return undefined;
  }
  prepareSocket(socket);
  return socketChannel(socket, { head, masking: "none" }, deps);
}

/** No delay for small messages, and none of the timeouts of HTTP. */
export function prepareSocket(socket: Duplex): void {
  if (!(socket instanceof Socket)) return;
  socket.setNoDelay(true);
  socket.setTimeout(0);
}

/** As {@link acceptWebSocket}, for callers that wait. */
export type AcceptWebSocket = (
  request: IncomingMessage,
  socket: Duplex,
  head: Uint8Array,
) => Promise<MessageChannel | undefined>;

export function createWebSocketAcceptor(): AcceptWebSocket {
  return (request, socket, head) => Promise.resolve(acceptWebSocket(request, socket, head));
}
