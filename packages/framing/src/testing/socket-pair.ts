import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { MessageChannel } from "../channel.ts";
import { createWebSocketAcceptor } from "../ws/accept.ts";
import { dialWebSocket } from "../ws/dial.ts";
import type { ChannelPair } from "./channel-suite.ts";

/** Two ends of a WebSocket over loopback. */
export async function webSocketPair(): Promise<ChannelPair> {
  const accept = createWebSocketAcceptor();
  const accepted = Promise.withResolvers<MessageChannel>();
  const server = createServer();
  server.on("upgrade", (request, socket, head) => {
    accept(request, socket, head).then((channel) => {
      if (channel === undefined) accepted.reject(new Error("the upgrade was refused"));
      else accepted.resolve(channel);
    }, accepted.reject);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const near = await dialWebSocket(new URL(`ws://127.0.0.1:${port}/`), { signal: AbortSignal.timeout(10_000) });
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
