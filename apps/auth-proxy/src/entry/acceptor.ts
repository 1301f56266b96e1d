import type { Socket } from "node:net";
import { type SecureContext, TLSSocket } from "node:tls";
import { type Clock, takeAll } from "@cluster-connect/base";
import { ConnectError, decodeProxyHeader, type StreamOrigin } from "@cluster-connect/protocol";
import { createFileGuard, errorFields, type Logger, type OpenFileLimit, outOfFiles } from "@cluster-connect/service";
import { withDeadline } from "../limits/deadline.ts";
import { HANDSHAKE_TIMEOUT_MS, HANDSHAKE_WAIT_MS, TOLD_STREAMS } from "../limits/limits.ts";
import { createQuota } from "../limits/quota.ts";
import { createTurns } from "../limits/turns.ts";
import type { ProxyMetrics } from "../observe/metrics.ts";

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
  /** Whether HTTP/2 is offered. */
  readonly http2: boolean;
  /** Most streams at once, and most of them within their handshake; the others wait for their turn. */
  readonly streams: number;
  readonly handshakes: number;
}

/** A stream that is there, or one too many, which is there to be told so. */
export interface AcceptedStream {
  readonly stream: TLSSocket;
  readonly origin: StreamOrigin;
  readonly fault: ConnectError | undefined;
}

export interface AcceptorDeps {
  readonly clock: Pick<Clock, "setTimer">;
  readonly context: () => SecureContext;
  readonly onStream: (accepted: AcceptedStream) => void;
  readonly log: Logger;
  readonly metrics: ProxyMetrics;
  /** The system is asked without it. */
  readonly openFileLimit?: OpenFileLimit | undefined;
}

const HTTP1 = Buffer.from("\x08http/1.1", "latin1");
const HTTP2 = Buffer.from("\x02h2\x08http/1.1", "latin1");
/** One relay caller's part of the streams and of the handshakes: a caller who opens many leaves the others room. */
const CALLER_SHARE = 1 / 2;

export function createAcceptor(options: AcceptorOptions, deps: AcceptorDeps): Acceptor {
  const { clock } = deps;
  const streams = new Set<Socket>();
  const perCaller = Math.ceil(options.streams * CALLER_SHARE);
  const places = createQuota(
    { what: "connections open", all: "limits.streams", perCaller: "half of limits.streams" },
    { all: options.streams, perCaller },
  );
  const most = options.streams + TOLD_STREAMS;
  const isOneOfTheLast = createFileGuard(deps.openFileLimit);
  const handshakes = createTurns("handshakes", {
    all: options.handshakes,
    perKey: Math.ceil(options.handshakes * CALLER_SHARE),
    waiting: most,
    waitingPerKey: most,
  });

  /** A place among the streams; one too many gets none and is told why. */
  function takePlace(socket: Socket, caller: string | undefined): ConnectError | undefined {
    try {
      const leave = takeAll([places.enter, () => (caller === undefined ? () => {} : places.enterCaller(caller))]);
      if (socket.closed) leave();
      else socket.once("close", leave);
      return undefined;
    } catch (error) {
      if (error instanceof ConnectError) return error;
      throw error;
    }
  }

  async function begin(socket: Socket): Promise<void> {
    const closed = new AbortController();
    socket.once("close", () => closed.abort());
    const { signal } = closed;
    const what = "The connection's handshake";
    const readHeader = async (): Promise<StreamOrigin | "question"> => readOrigin(socket);
    const origin = options.proxyProtocol
      ? await withDeadline({ ms: HANDSHAKE_TIMEOUT_MS, what, signal }, readHeader, clock)
      : directOrigin(socket);
    if (origin === "question") {
      // Before it takes a place or waits for a turn: an auth proxy with much to do is there, too.
      socket.destroy();
      return;
    }
    const caller = origin.username ?? origin.sessionId;
    const fault = isOneOfTheLast(socket) ? outOfFiles("auth proxy") : takePlace(socket, caller);
    const waiting = { ms: HANDSHAKE_WAIT_MS, what, signal };
    const leave = await withDeadline(waiting, (inTime) => handshakes.take(caller ?? "", { signal: inTime }), clock);
    const timer = clock.setTimer(HANDSHAKE_TIMEOUT_MS, () => socket.destroy());
    try {
      const stream = await shakeHands(socket, deps.context(), options.http2 ? HTTP2 : HTTP1);
      deps.onStream({ stream, origin, fault });
    } finally {
      timer.cancel();
      leave();
    }
  }

  return {
    accept(socket) {
      if (streams.size >= most) {
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

/** Reads the header and leaves the bytes behind it in the socket. */
function readOrigin(socket: Socket): Promise<StreamOrigin | "question"> {
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
        const header = decodeProxyHeader(seen);
        if (header.kind === "incomplete") return;
        stop();
        if (header.kind === "question") {
          resolve("question");
          return;
        }
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

function shakeHands(socket: Socket, secureContext: SecureContext, ALPNProtocols: Buffer): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const stream = new TLSSocket(socket, { isServer: true, secureContext, ALPNProtocols });
    stream.once("secure", () => {
      stream.off("error", reject);
      stream.off("close", closed);
      stream.off("end", closed);
      resolve(stream);
    });
    const closed = (): void => reject(new Error("The stream ended before its handshake"));
    stream.on("error", reject);
    stream.once("close", closed);
    // The server's sockets stay open at their other side's end, and would keep a place until the time is up.
    stream.once("end", closed);
  });
}
