import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

/** Everything that went over one TCP connection. */
interface TappedConnection {
  readonly fromDialer: Buffer[];
  readonly fromRelay: Buffer[];
}

/** A TCP forwarder that writes down both directions. */
export interface Tap {
  readonly url: string;
  readonly connections: readonly TappedConnection[];
  stop(): Promise<void>;
}

/** Listens on loopback and forwards to a port of the relay. */
export async function startTap(relayPort: number): Promise<Tap> {
  const connections: TappedConnection[] = [];
  const sockets = new Set<Socket>();
  const join = (from: Socket, to: Socket, written: Buffer[]): void => {
    sockets.add(from);
    from.on("data", (chunk: Buffer) => written.push(chunk));
    from.pipe(to);
    from.on("error", () => to.destroy());
    from.once("close", () => {
      sockets.delete(from);
      to.destroy();
    });
  };
  const listener = createServer({ allowHalfOpen: true }, (dialer) => {
    const relay = connect({ host: "127.0.0.1", port: relayPort, allowHalfOpen: true });
    const tapped: TappedConnection = { fromDialer: [], fromRelay: [] };
    connections.push(tapped);
    join(dialer, relay, tapped.fromDialer);
    join(relay, dialer, tapped.fromRelay);
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const address = listener.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    connections,
    stop: async () => {
      for (const socket of sockets) socket.destroy();
      listener.close();
      await once(listener, "close");
    },
  };
}
