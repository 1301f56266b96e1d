import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, connect, createServer as createTcpServer } from "node:net";
import type { Duplex } from "node:stream";
import { acceptSession, dialSession } from "@cluster-connect/framing";
import { createWebSocketAcceptor, dialWebSocket } from "@cluster-connect/framing/ws";
import {
  parseClusterId,
  parseCorrelationId,
  parseInstanceId,
  parseSessionId,
  UPSTREAM_KUBERNETES,
} from "@cluster-connect/protocol";

/** Two ends of one byte stream over loopback, and what ends them. */
export interface Pair {
  readonly near: Duplex;
  readonly far: Duplex;
  close(): Promise<void>;
}

/** The baseline: one TCP connection. */
export async function tcpPair(): Promise<Pair> {
  const server = createTcpServer({ noDelay: true }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const near = connect({ ...portOf(server.address()), noDelay: true });
  const [far] = (await once(server, "connection")) as [Duplex];
  return {
    near,
    far,
    async close() {
      near.destroy();
      far.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

/** One stream in a session over a WebSocket, without TLS. */
export async function streamPair(): Promise<Pair> {
  const accept = createWebSocketAcceptor();
  const software = "bench";
  const arrived = Promise.withResolvers<Duplex>();
  const server = createServer().on("upgrade", (request, socket, head) => {
    const serve = async (): Promise<void> => {
      const channel = await accept(request, socket, head);
      if (channel === undefined) throw new Error("the upgrade was refused");
      acceptSession(channel, {
        role: "relay",
        instanceId: parseInstanceId("bench-relay"),
        software,
        authenticate: async () => ({ sessionId: parseSessionId("bench-session") }),
        onStream: (incoming) =>
          arrived.resolve(incoming.accept({ instanceId: parseInstanceId("bench-agent"), graceMs: 0 })),
      });
    };
    serve().catch(arrived.reject);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { host, port } = portOf(server.address());
  const channel = await dialWebSocket(new URL(`ws://${host}:${port}/v1/connect`), {
    signal: AbortSignal.timeout(10_000),
  });
  const session = dialSession(channel, { role: "cli", instanceId: parseInstanceId("bench-cli"), software });
  await session.ready;
  const near = session.open({
    cluster: parseClusterId("bench"),
    upstream: UPSTREAM_KUBERNETES,
    correlationId: parseCorrelationId("0123456789abcdef"),
  });
  return {
    near,
    far: await arrived.promise,
    async close() {
      session.close();
      await session.closed;
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

function portOf(address: AddressInfo | string | null): { readonly host: string; readonly port: number } {
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  return { host: address.address, port: address.port };
}
