import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { splice } from "@cluster-connect/framing";
import { ConnectError, toConnectError } from "@cluster-connect/protocol";
import { systemCode } from "../files/system-error.ts";
import { type Alert, tlsAlert } from "./alert.ts";
import { peek } from "./peek.ts";
import { describePortHolder } from "./port-holder.ts";
import { routeConnection, type ServedCluster } from "./route.ts";

export interface LocalProxyOptions {
  /** On 127.0.0.1; 0 takes a free one. */
  readonly port: number;
  readonly clusters: readonly ServedCluster[];
  /** Ends the listener and every connection. */
  readonly signal: AbortSignal;
}

/** A stream that may be written to before it was answered. */
export interface OpenedStream extends Duplex {
  /** Rejects with the ConnectError that says why not. */
  readonly accepted: Promise<unknown>;
}

export type OpenStream = (cluster: ServedCluster, options: { readonly signal: AbortSignal }) => Promise<OpenedStream>;

/** What a local proxy uses and tells. */
export interface LocalProxyDeps {
  /** Opens a stream to a cluster's kube-apiserver, or throws a ConnectError that says which hop is missing. */
  readonly open: OpenStream;
  /** A connection was not served, or broke off. Without a cluster it named none that is served. */
  readonly onFailure: (error: ConnectError, cluster: ServedCluster | undefined) => void;
}

/** A port on loopback whose connections become streams; it never sees plaintext. */
export interface LocalProxy {
  readonly port: number;
  /** Connections that are open now. */
  readonly connections: number;
  /** Resolves when the listener and its connections are gone. */
  readonly closed: Promise<void>;
}

/** How long a connection may stay silent before its first byte. */
const FIRST_BYTE_MS = 60_000;

/**
 * Listens on loopback.
 *
 * @throws ConnectError `CC_PORT_IN_USE` naming the process that has the port, where the system tells.
 */
export async function startLocalProxy(options: LocalProxyOptions, deps: LocalProxyDeps): Promise<LocalProxy> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    void serve(socket, options, deps);
  });
  await listen(server, options.port);
  const closed = once(server, "close").then(() => {});
  const stop = (): void => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  if (options.signal.aborted) stop();
  else options.signal.addEventListener("abort", stop, { once: true });
  return {
    port: portOf(server),
    get connections() {
      return sockets.size;
    },
    closed,
  };
}

async function serve(socket: Socket, options: LocalProxyOptions, deps: LocalProxyDeps): Promise<void> {
  const gone = new AbortController();
  const onGone = (): void => gone.abort(new ConnectError("CC_CANCELLED", "The local connection is closed"));
  socket.on("error", onGone);
  socket.once("close", onGone);
  const signal = AbortSignal.any([options.signal, gone.signal]);
  let isTls = false;
  let cluster: ServedCluster | undefined;
  try {
    const peeked = await peek(socket, {
      whole: options.clusters.length > 1,
      signal: AbortSignal.any([signal, AbortSignal.timeout(FIRST_BYTE_MS)]),
    });
    if (peeked === undefined) {
      socket.destroy();
      return;
    }
    isTls = peeked.isTls;
    const route = routeConnection(peeked.first, options.clusters);
    if (route.kind === "unknown") {
      refuse(socket, isTls, "unrecognizedName");
      deps.onFailure(unknownName(route.named, options.clusters), undefined);
      return;
    }
    cluster = route.cluster;
    const stream = await deps.open(cluster, { signal });
    // The first bytes travel with OPEN; the rest waits for its answer, as a refusal is told to the client.
    if (peeked.bytes.length > 0) stream.write(peeked.bytes);
    await stream.accepted;
    const spliced = splice(socket, stream, { signal });
    // Looking at the first bytes paused it, and a listener alone does not undo that.
    socket.resume();
    await spliced;
  } catch (error) {
    if (signal.aborted || isLocalAbort(error)) socket.destroy();
    else {
      refuse(socket, isTls, "internalError");
      deps.onFailure(toConnectError(error), cluster);
    }
  }
}

/** A client that has heard nothing yet gets an alert, so that it says more than that the connection closed. */
function refuse(socket: Socket, isTls: boolean, alert: Alert): void {
  if (socket.destroyed || !socket.writable || socket.bytesWritten > 0 || !isTls) socket.destroy();
  else socket.end(tlsAlert(alert), () => socket.destroy());
}

/** The local side went away, or its time to say something was over: nobody needs to be told. */
function isLocalAbort(error: unknown): boolean {
  if (error instanceof ConnectError) return error.code === "CC_CANCELLED";
  return error instanceof Error && (error.name === "TimeoutError" || systemCode(error) !== "");
}

function unknownName(named: string | undefined, clusters: readonly ServedCluster[]): ConnectError {
  const names = clusters.map(({ serverName }) => serverName).join(", ");
  const asked = named === undefined ? "A connection names no cluster" : `A connection asks for ${named}`;
  return new ConnectError("CC_CLUSTER_UNKNOWN", `${asked}; this port serves ${names}`, {
    hint: "Use a context of the kubeconfig that this proxy wrote, or kubectl's --tls-server-name.",
  });
}

async function listen(server: Server, port: number): Promise<void> {
  server.listen(port, "127.0.0.1");
  try {
    await once(server, "listening");
  } catch (cause) {
    const code = systemCode(cause);
    if (code === "EADDRINUSE") throw await describePortHolder(port, cause);
    const reason = code === "EACCES" ? "permission denied" : code;
    throw new ConnectError("CC_PORT_IN_USE", `Port ${port} on 127.0.0.1 cannot be used: ${reason}`, { cause });
  }
}

function portOf(server: Server): number {
  const address = server.address();
  if (typeof address === "object" && address !== null) return address.port;
  throw new ConnectError("CC_INTERNAL", "The local listener has no port");
}
