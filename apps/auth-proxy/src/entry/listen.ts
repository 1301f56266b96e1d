import { chmod, rm } from "node:fs/promises";
import type { Server } from "node:http";
import { connect } from "node:net";
import { ConnectError } from "@cluster-connect/protocol";
import { LISTEN_BACKLOG } from "../limits/limits.ts";

/** A unix socket's path, or an address. */
export type ListenTarget =
  | { readonly socket: string }
  | { readonly host: string; readonly port: number; readonly proxyProtocol: boolean };

/**
 * Listens and waits until that worked. A socket file that no process serves any more is replaced.
 *
 * @returns the port that was taken, or undefined for a socket.
 * @throws ConnectError `CC_PORT_IN_USE` naming the address or path, `CC_CONFIG_INVALID` when it cannot be used.
 */
export async function listenAt(server: Server, target: ListenTarget): Promise<number | undefined> {
  if ("socket" in target) {
    if (await isServed(target.socket)) throw inUse(target.socket);
    await rm(target.socket, { force: true });
    await listening(server, { path: target.socket }, target.socket);
    // The agent may run as another user of the same group.
    await chmod(target.socket, 0o660);
    return undefined;
  }
  await listening(server, { host: target.host, port: target.port }, `${target.host}:${target.port}`);
  const address = server.address();
  return address !== null && typeof address === "object" ? address.port : undefined;
}

function listening(
  server: Server,
  options: { readonly path?: string; readonly host?: string; readonly port?: number },
  name: string,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (cause: NodeJS.ErrnoException): void => {
      if (cause.code === "EADDRINUSE") reject(inUse(name, cause));
      else reject(new ConnectError("CC_CONFIG_INVALID", `Cannot listen on ${name}: ${cause.code}`, { cause }));
    };
    // Later ones, of a connection that could not be taken, must not end the process.
    server.on("error", failed);
    server.listen({ ...options, backlog: LISTEN_BACKLOG }, resolve);
  });
}

function inUse(name: string, cause?: unknown): ConnectError {
  const hint = "End the process that has it, or give another address in `listen`.";
  return new ConnectError("CC_PORT_IN_USE", `${name} is in use`, { cause, hint });
}

function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}
