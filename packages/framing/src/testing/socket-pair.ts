import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { MessageChannel } from "../channel.ts";
import { createWebSocketAcceptor } from "../ws/accept.ts";
import { dialWebSocket } from "../ws/dial.ts";
import type { ChannelPair } from "./channel-suite.ts";

export interface WebSocketPairOptions {
  /** PEM; TLS with this certificate, which the dialer trusts. */
  readonly certificate?: { readonly cert: string; readonly key: string };
}

/** Two ends of a WebSocket over loopback; the near one dialed. */
export async function webSocketPair(options: WebSocketPairOptions = {}): Promise<ChannelPair> {
  const { certificate } = options;
  const accept = createWebSocketAcceptor();
  const accepted = Promise.withResolvers<MessageChannel>();
  const server: Server = certificate === undefined ? createServer() : createTlsServer(certificate);
  server.on("upgrade", (request, socket, head) => {
    accept(request, socket, head).then((channel) => {
      if (channel === undefined) accepted.reject(new Error("the upgrade was refused"));
      else accepted.resolve(channel);
    }, accepted.reject);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const url = new URL(certificate === undefined ? `ws://127.0.0.1:${port}/` : `wss://localhost:${port}/`);
  const tls = certificate === undefined ? {} : { tls: { ca: certificate.cert } };
  const near = await dialWebSocket(url, { signal: AbortSignal.timeout(10_000), ...tls });
  const far = await accepted.promise;
  return {
    near,
    far,
    async dispose() {
      near.terminate();
      far.terminate();
      server.closeAllConnections();
      const closed = once(server, "close");
      server.close();
      await closed;
    },
  };
}
