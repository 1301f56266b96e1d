import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { setImmediate } from "node:timers/promises";
import { onAbort, systemCode } from "@cluster-connect/base";
import { splice } from "@cluster-connect/framing";
import { ConnectError, toConnectError } from "@cluster-connect/protocol";
import { createFileGuard, type OpenFileLimit } from "@cluster-connect/service";
import { type Alert, BROKEN_TLS, tlsAlert } from "./alert.ts";
import { createLocalConnections, type LocalConnection } from "./connections.ts";
import { createOpenTurns, type OpenTurns } from "./open-turns.ts";
import { peek } from "./peek.ts";
import { describePortHolder } from "./port-holder.ts";
import { answerProof } from "./proof.ts";
import { routeConnection, type ServedCluster } from "./route.ts";

export interface LoopbackProxyOptions {
  /** On 127.0.0.1; 0 takes a free one. */
  readonly port: number;
  readonly clusters: readonly ServedCluster[];
  /** With it the listener proves to this user's other commands that it is theirs. */
  readonly proofSecret?: string | undefined;
  /** Ends the listener and every connection. */
  readonly signal: AbortSignal;
}

/** A stream that may be written to before it was answered. */
export interface OpenedStream extends Duplex {
  /** Rejects with the ConnectError that says why not. */
  readonly accepted: Promise<unknown>;
}

export type OpenStream = (cluster: ServedCluster, options: { readonly signal: AbortSignal }) => Promise<OpenedStream>;

/** Dependencies of a local proxy. */
export interface LoopbackProxyDeps {
  /** Opens a stream to a cluster's kube-apiserver, or throws a ConnectError that says which hop is missing. */
  readonly open: OpenStream;
  /** A connection was not served, or broke off. Without a cluster it named none that is served. */
  readonly onFailure: (error: ConnectError, cluster: ServedCluster | undefined) => void;
  /** The system is asked without it. */
  readonly openFileLimit?: OpenFileLimit;
}

/** A port on loopback whose connections become streams; it never sees plaintext. */
export interface LoopbackProxy {
  readonly port: number;
  /** Connections that are open now. */
  readonly connections: number;
  /**
   * Takes no more connections, and lets those that are there end ({@link LocalConnections.drain}).
   *
   * @returns how many were left when the time was over.
   */
  drain(options: { readonly lingerMs: number; readonly signal: AbortSignal }): Promise<number>;
  /** Resolves when the listener and its connections are gone. */
  readonly closed: Promise<void>;
}

/** How long a connection may stay silent before its first byte. */
const FIRST_BYTE_MS = 60_000;
/** Turns of the loop in which connections come in; one would do. */
const TURNS_TO_ACCEPT = 3;
/** How long a connection that is refused may take to say whether it speaks TLS. */
const REFUSAL_MS = 250;
/** Connections that the system holds until they are taken. */
const BACKLOG = 4_096;

/**
 * Listens on loopback.
 *
 * @throws ConnectError `CC_PORT_IN_USE` naming the process that has the port, where the system tells.
 */
export async function startLoopbackProxy(
  options: LoopbackProxyOptions,
  deps: LoopbackProxyDeps,
): Promise<LoopbackProxy> {
  const connections = createLocalConnections();
  const tooMany = createFileGuard(deps.openFileLimit);
  const turns = createOpenTurns(options);
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (socket) => {
    const serve = tooMany(socket) ? refuseForFiles : serveConnection;
    connections.serve(socket, (connection) => serve(connection, options, { ...deps, turns }));
  });
  await listenOnLoopback(server, options.port);
  const closed = once(server, "close").then(() => {});
  const stop = (): void => {
    server.close();
    connections.destroy();
  };
  onAbort(options.signal, stop);
  return {
    port: listenerPort(server),
    get connections() {
      return connections.size;
    },
    async drain(drainOptions) {
      // Connections that the system has taken are not in this process yet: a listener that closes would reset them.
      for (let turn = 0; turn < TURNS_TO_ACCEPT; turn += 1) await setImmediate();
      server.close();
      return await connections.drain(drainOptions);
    },
    closed,
  };
}

async function serveConnection(
  connection: LocalConnection,
  options: LoopbackProxyOptions,
  deps: LoopbackProxyDeps & { readonly turns: OpenTurns },
): Promise<void> {
  const { socket } = connection;
  const gone = new AbortController();
  const onGone = (): void => gone.abort(new ConnectError("CC_CANCELLED", "The local connection is closed"));
  socket.on("error", onGone);
  socket.once("close", onGone);
  const signal = AbortSignal.any([options.signal, gone.signal]);
  const known: KnownConnection = { isTls: false, cluster: undefined };
  try {
    const stream = await openAsked(socket, known, { ...options, signal }, deps);
    if (stream === undefined) return;
    // From here on the splice decides: what the client said before it left is still passed on.
    socket.off("close", onGone).off("error", onGone).on("error", ignore);
    connection.stream = stream;
    const spliced = splice(socket, stream, { signal: options.signal, fatal: known.isTls ? BROKEN_TLS : undefined });
    // Looking at the first bytes paused it, and a listener alone does not undo that.
    socket.resume();
    await spliced;
  } catch (error) {
    if (signal.aborted || isLocalAbort(error)) socket.destroy();
    else {
      refuseConnection(socket, known.isTls, "internalError");
      deps.onFailure(toConnectError(error), known.cluster);
    }
  }
}

/** A connection as its first bytes tell of it. */
interface KnownConnection {
  isTls: boolean;
  cluster: ServedCluster | undefined;
}

/**
 * Opens the stream that a connection's first bytes ask for; they are let go of with this call.
 *
 * @returns undefined when the connection gets none, and was answered.
 */
async function openAsked(
  socket: Socket,
  known: KnownConnection,
  options: LoopbackProxyOptions,
  deps: LoopbackProxyDeps & { readonly turns: OpenTurns },
): Promise<OpenedStream | undefined> {
  const { signal } = options;
  const peeked = await peek(socket, {
    whole: options.clusters.length > 1,
    signal: AbortSignal.any([signal, AbortSignal.timeout(FIRST_BYTE_MS)]),
  });
  if (peeked === undefined) {
    socket.destroy();
    return undefined;
  }
  if (peeked.proofNonce !== undefined && options.proofSecret !== undefined) {
    socket.end(answerProof(options.proofSecret, peeked.proofNonce), () => socket.destroy());
    return undefined;
  }
  known.isTls = peeked.isTls;
  const route = routeConnection(peeked.first, options.clusters);
  if (route.kind === "unknown") {
    refuseConnection(socket, peeked.isTls, "unrecognizedName");
    deps.onFailure(unknownName(route.named, options.clusters), undefined);
    return undefined;
  }
  const { cluster } = route;
  known.cluster = cluster;
  return await deps.turns.take(() => openWith(cluster, peeked.bytes, { signal }, deps), { signal });
}

/** Opens a stream with a connection's first bytes. */
async function openWith(
  cluster: ServedCluster,
  first: Uint8Array,
  options: { readonly signal: AbortSignal },
  deps: LoopbackProxyDeps,
): Promise<OpenedStream> {
  const stream = await deps.open(cluster, options);
  try {
    // The first bytes travel with OPEN; the rest waits for its answer, as a refusal is told to the client.
    if (first.length > 0) stream.write(first);
    await stream.accepted;
    return stream;
  } catch (error) {
    stream.destroy();
    throw error;
  }
}

/** A client that has heard nothing yet gets an alert, so that it says more than that the connection closed. */
function refuseConnection(socket: Socket, isTls: boolean, alert: Alert): void {
  if (socket.destroyed || !socket.writable || socket.bytesWritten > 0 || !isTls) socket.destroy();
  else socket.end(tlsAlert(alert), () => socket.destroy());
}

/** Refuses a connection while there is a file left to do it with; those that are served go on. */
async function refuseForFiles(
  { socket }: LocalConnection,
  options: LoopbackProxyOptions,
  deps: LoopbackProxyDeps,
): Promise<void> {
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(REFUSAL_MS)]);
  socket.on("error", ignore);
  const peeked = await peek(socket, { whole: false, signal }).catch(() => undefined);
  refuseConnection(socket, peeked?.isTls === true, "internalError");
  const message = "A connection is refused: this process has as many open files as it may have";
  const hint = "Raise the limit of open files (ulimit -n) in the shell, or end connections that are not needed.";
  deps.onFailure(new ConnectError("CC_LIMIT_REACHED", message, { hint }), undefined);
}

function ignore(): void {}

/** The local side went away, or its time to say something was over: there is no one to tell. */
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

async function listenOnLoopback(server: Server, port: number): Promise<void> {
  server.listen({ port, host: "127.0.0.1", backlog: BACKLOG });
  try {
    await once(server, "listening");
  } catch (cause) {
    const code = systemCode(cause);
    if (code === "EADDRINUSE") throw describePortHolder(port, cause);
    const reason = code === "EACCES" ? "permission denied" : code;
    throw new ConnectError("CC_PORT_IN_USE", `Port ${port} on 127.0.0.1 cannot be used: ${reason}`, { cause });
  }
}

function listenerPort(server: Server): number {
  const address = server.address();
  if (typeof address === "object" && address !== null) return address.port;
  throw new ConnectError("CC_INTERNAL", "The local listener has no port");
}
