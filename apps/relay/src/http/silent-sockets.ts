import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Release } from "@cluster-connect/base";
import { guardSocket } from "@cluster-connect/service";
import type { Quotas } from "../quota/quotas.ts";
import { createProxyCheck, plainAddress } from "./caller-address.ts";

/**
 * Bounds the sockets on which no request is under way, from before TLS begins: those whose first one is not there yet,
 * whole with its body, and those that wait for another. One too many is closed without a word. How long each has is the
 * server's own limit.
 */
export function boundSilentSockets(
  server: Server,
  options: { readonly trustedProxies: readonly string[] },
  deps: {
    readonly quotas: Pick<Quotas, "takeSocket">;
    readonly onRefused: () => void;
    /** Told why a socket could not be counted, and was ended for it. */
    readonly onFailed: (error: unknown) => void;
  },
): void {
  const isProxy = createProxyCheck(options.trustedProxies);
  const silent = new Map<string, Release>();
  /** Counts a socket that is open and no channel. */
  const open = new Map<string, () => void>();
  const look = (socket: Socket): void => {
    const name = nameOf(socket);
    const address = plainAddress(socket.remoteAddress ?? "");
    const options = { isProxy: address !== undefined && isProxy(address) };
    const end = (): void => {
      deps.onRefused();
      socket.destroy();
    };
    const count = (): void => {
      if (silent.has(name)) return;
      try {
        silent.set(name, deps.quotas.takeSocket(address, end, options));
      } catch {
        end();
      }
    };
    count();
    if (socket.destroyed) return;
    open.set(name, count);
    socket.once("close", () => {
      open.delete(name);
      release(name);
    });
  };
  server.on("connection", guardSocket(look, deps.onFailed));
  server.on("request", (request: IncomingMessage, response: ServerResponse) => {
    const name = nameOf(request.socket);
    if (hasBody(request)) request.once("end", () => release(name));
    else release(name);
    response.once("close", () => open.get(name)?.());
  });
  server.on("upgrade", ({ socket }: IncomingMessage) => {
    const name = nameOf(socket);
    open.delete(name);
    release(name);
  });

  function release(name: string): void {
    silent.get(name)?.();
    silent.delete(name);
  }
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers["transfer-encoding"] !== undefined || (headers["content-length"] ?? "0") !== "0";
}

/** The same for a socket and for the TLS over it. */
function nameOf({ remoteAddress, remotePort }: Pick<Socket, "remoteAddress" | "remotePort">): string {
  return `${remoteAddress} ${remotePort}`;
}
