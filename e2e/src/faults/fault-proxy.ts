import { once } from "node:events";
import { createServer, Socket } from "node:net";
import type { Fault } from "./fault.ts";
import { Link } from "./link.ts";
import { startSilentPort } from "./silent-port.ts";

/** A TCP forwarder between two hops that can fail on request. */
export interface FaultProxy {
  readonly port: number;
  /** Links that are open now. */
  readonly links: number;
  /** From now on, and until what it returns is called. One fault at a time. */
  begin(fault: Fault): () => void;
  /** Resets every link. Until what it returns is called, packets of those who connect are dropped (Linux). */
  silence(): Promise<() => Promise<void>>;
  stop(): Promise<void>;
}

/**
 * Listens on loopback and forwards to another port there.
 *
 * @param upstream the port, or the path of a unix socket.
 */
export async function startFaultProxy(upstream: number | string): Promise<FaultProxy> {
  const links = new Set<Link>();
  let fault: Fault | undefined;
  let undo: Array<() => void> = [];
  const where =
    typeof upstream === "string" ? { path: upstream } : { host: "127.0.0.1", port: upstream, noDelay: true };
  const listener = createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
    const far = new Socket({ allowHalfOpen: true });
    // A unix socket knows no reset.
    if (typeof upstream === "string") far.resetAndDestroy = () => far.destroy();
    const link = new Link(near, far);
    links.add(link);
    void link.closed.then(() => links.delete(link));
    if (fault !== undefined) undo.push(fault.begin(link));
    // A fault that resets the link comes before it is dialed on.
    if (!far.destroyed) far.connect(where);
  });
  const listen = async (port: number): Promise<void> => {
    listener.listen(port, "127.0.0.1");
    await once(listener, "listening");
  };
  await listen(0);
  const address = listener.address();
  const ownPort = typeof address === "object" && address !== null ? address.port : 0;
  const end = (): void => {
    fault = undefined;
    for (const letGo of undo) letGo();
    undo = [];
  };
  return {
    port: ownPort,
    get links() {
      return links.size;
    },
    begin(next) {
      end();
      fault = next;
      undo = [...links].map((link) => next.begin(link));
      return end;
    },
    async silence() {
      const closed = once(listener, "close");
      listener.close();
      for (const link of links) link.reset();
      await closed;
      const end = await startSilentPort(ownPort);
      return async () => {
        await end();
        await listen(ownPort);
      };
    },
    async stop() {
      listener.close();
      for (const link of links) link.reset();
      await once(listener, "close");
    },
  };
}
