import type { Socket } from "node:net";
import { type SecureContext, TLSSocket } from "node:tls";
import { ConnectError } from "@cluster-connect/protocol";
import { errorFields, type Logger } from "@cluster-connect/service";
import { HANDSHAKE_TIMEOUT_MS } from "./limits.ts";
import { parseProxyHeader, type StreamOrigin } from "./proxy-header.ts";
import type { ProxyMetrics } from "./proxy-metrics.ts";
import { createQuota } from "./quota.ts";

/** Turns accepted sockets into TLS streams of which we know where they come from. */
export interface Acceptor {
  /** Takes a socket; it is closed unless it shows a PROXY header (where one is due) and then finishes its handshake. */
  accept(socket: Socket): void;
  readonly open: () => number;
  /** Breaks every stream off. */
  closeAll(): void;
}

export interface AcceptorOptions {
  readonly proxyProtocol: boolean;
  /** Most streams at once, and most of them before the end of the handshake. */
  readonly streams: number;
  readonly handshakes: number;
}

export interface AcceptorDeps {
  readonly context: () => SecureContext;
  readonly onStream: (stream: TLSSocket, origin: StreamOrigin) => void;
  readonly log: Logger;
  readonly metrics: ProxyMetrics;
}

const ALPN = Buffer.from("\x08http/1.1", "latin1");
/** Of the handshakes, for one caller of the relay: whoever opens streams and says nothing leaves the others room. */
const CALLER_SHARE = 1 / 2;

export function createAcceptor(options: AcceptorOptions, deps: AcceptorDeps): Acceptor {
  const streams = new Set<Socket>();
  const perCaller = Math.ceil(options.handshakes * CALLER_SHARE);
  const shaking = createQuota("handshakes", { all: options.handshakes, perCaller });

  async function begin(socket: Socket): Promise<void> {
    const timer = setTimeout(() => socket.destroy(), HANDSHAKE_TIMEOUT_MS);
    const leaveAll = shaking.enter();
    let leaveCaller = (): void => undefined;
    try {
      const origin = options.proxyProtocol ? await readOrigin(socket) : directOrigin(socket);
      const caller = origin.relayUsername ?? origin.sessionId;
      if (caller !== undefined) leaveCaller = shaking.enterCaller(caller);
      const stream = await shakeHands(socket, deps.context());
      deps.onStream(stream, origin);
    } finally {
      leaveCaller();
      leaveAll();
      clearTimeout(timer);
    }
  }

  return {
    accept(socket) {
      if (streams.size >= options.streams || shaking.size() >= options.handshakes) {
        deps.metrics.streamRefused("limit");
        socket.destroy();
        return;
      }
      streams.add(socket);
      socket.once("close", () => streams.delete(socket));
      socket.on("error", () => socket.destroy());
      begin(socket).catch((error: unknown) => {
        deps.metrics.streamRefused(whyRefused(error));
        deps.log.debug({ event: "stream.refused", ...errorFields(error) }, "stream refused");
        socket.destroy();
      });
    },
    open: () => streams.size,
    closeAll() {
      for (const socket of streams) socket.destroy();
    },
  };
}

function whyRefused(error: unknown): Parameters<ProxyMetrics["streamRefused"]>[0] {
  if (!(error instanceof ConnectError)) return "handshake";
  if (error.code === "CC_LIMIT_REACHED") return "limit";
  return error.code === "CC_REQUEST_REFUSED" ? "header" : "handshake";
}

/** Reads the header and leaves what follows it in the socket. */
function readOrigin(socket: Socket): Promise<StreamOrigin> {
  return new Promise((resolve, reject) => {
    let seen: Buffer = Buffer.alloc(0);
    const stop = (): void => {
      socket.off("readable", read);
      socket.off("close", closed);
    };
    const closed = (): void => {
      stop();
      reject(new ConnectError("CC_REQUEST_REFUSED", "The stream ended before its PROXY header"));
    };
    const read = (): void => {
      const chunk: Buffer | null = socket.read();
      if (chunk === null) return;
      seen = Buffer.concat([seen, chunk]);
      try {
        const header = parseProxyHeader(seen);
        if (header.kind === "incomplete") return;
        stop();
        const rest = seen.subarray(header.headerBytes);
        if (rest.length > 0) socket.unshift(rest);
        resolve(header.origin);
      } catch (error) {
        stop();
        reject(error);
      }
    };
    socket.on("readable", read);
    socket.once("close", closed);
    socket.once("end", closed);
  });
}

function directOrigin(socket: Socket): StreamOrigin {
  return socket.remoteAddress === undefined ? {} : { address: socket.remoteAddress };
}

function shakeHands(socket: Socket, secureContext: SecureContext): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const stream = new TLSSocket(socket, { isServer: true, secureContext, ALPNProtocols: ALPN });
    stream.once("secure", () => {
      stream.off("error", reject);
      stream.off("close", closed);
      stream.off("end", closed);
      resolve(stream);
    });
    const closed = (): void => reject(new Error("The stream ended before its handshake"));
    stream.once("error", reject);
    stream.once("close", closed);
    // The server's sockets stay open at their other side's end, and would keep a place until the time is up.
    stream.once("end", closed);
  });
}
