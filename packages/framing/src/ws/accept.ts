import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { ConnectError, SUBPROTOCOL } from "@cluster-connect/protocol";
import { WebSocketServer } from "ws";
import type { MessageChannel } from "../channel.ts";
import { webSocketChannel } from "./channel.ts";
import { WEB_SOCKET_OPTIONS } from "./options.ts";
import { refuseUpgrade } from "./refusal.ts";

/**
 * Turns an upgrade request into a channel; for the `upgrade` event of an HTTP server, after the caller was judged.
 *
 * @returns undefined when the request is no WebSocket upgrade with our subprotocol: it was answered and is over.
 */
export type AcceptWebSocket = (
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
) => Promise<MessageChannel | undefined>;

export function createWebSocketAcceptor(): AcceptWebSocket {
  const server = new WebSocketServer({ ...WEB_SOCKET_OPTIONS, noServer: true, clientTracking: false });
  return (request, socket, head) => {
    const offered = (request.headers["sec-websocket-protocol"] ?? "").split(",").map((name) => name.trim());
    if (!offered.includes(SUBPROTOCOL)) {
      refuseUpgrade(socket, new ConnectError("CC_VERSION_UNSUPPORTED", `The subprotocol ${SUBPROTOCOL} is needed`));
      return Promise.resolve(undefined);
    }
    return new Promise((resolve) => {
      socket.once("close", () => resolve(undefined));
      server.handleUpgrade(request, socket, head, (webSocket) => resolve(webSocketChannel(webSocket)));
    });
  };
}
