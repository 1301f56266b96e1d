import type { Server } from "node:http";
import type { Socket } from "node:net";
import { createProxyCheck, plainAddress } from "./caller-address.ts";
import type { Release } from "./quota/counted.ts";
import type { Quotas } from "./quota/quotas.ts";

/**
 * Bounds the sockets that have not sent the headers of a request yet, from before TLS begins: one too many is closed
 * without a word. How long each has is the server's own limit.
 */
export function boundSilentSockets(
  server: Server,
  options: { readonly trustedProxies: readonly string[] },
  deps: { readonly quotas: Pick<Quotas, "takeSocket">; readonly onRefused: () => void },
): void {
  const isProxy = createProxyCheck(options.trustedProxies);
  const silent = new Map<string, Release>();
  server.on("connection", (socket: Socket) => {
    const name = nameOf(socket);
    const address = plainAddress(socket.remoteAddress ?? "");
    const end = (): void => {
      deps.onRefused();
      socket.destroy();
    };
    try {
      const options = { isProxy: address !== undefined && isProxy(address) };
      silent.set(name, deps.quotas.takeSocket(address, end, options));
    } catch {
      end();
      return;
    }
    socket.once("close", () => release(name));
  });
  const speaks = ({ socket }: { readonly socket: Socket }): void => release(nameOf(socket));
  server.on("request", speaks);
  server.on("upgrade", speaks);

  function release(name: string): void {
    silent.get(name)?.();
    silent.delete(name);
  }
}

/** The same for a socket and for the TLS over it. */
function nameOf({ remoteAddress, remotePort }: Pick<Socket, "remoteAddress" | "remotePort">): string {
  return `${remoteAddress} ${remotePort}`;
}
