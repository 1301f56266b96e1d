import type { Socket } from "node:net";
import { type SecureContext, TLSSocket } from "node:tls";
import { ConnectError } from "@cluster-connect/protocol";
import { errorFields, type Logger } from "@cluster-connect/service";
import { HANDSHAKE_TIMEOUT_MS } from "./limits.ts";
import { parseProxyHeader, type StreamOrigin } from "./proxy-header.ts";
import type { ProxyMetrics } from "./proxy-metrics.ts";

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

export function createAcceptor(options: AcceptorOptions, deps: AcceptorDeps): Acceptor {
  const streams = new Set<Socket>();
  let shaking = 0;

  async function begin(socket: Socket): Promise<void> {
    const timer = setTimeout(() => socket.destroy(), HANDSHAKE_TIMEOUT_MS);
    shaking += 1;
    try {
      const origin = options.proxyProtocol ? await readOrigin(socket) : directOrigin(socket);
      const stream = await shakeHands(socket, deps.context());
      deps.onStream(stream, origin);
    } finally {
      shaking -= 1;
      clearTimeout(timer);
    }
  }

  return {
    accept(socket) {
      if (streams.size >= options.streams || shaking >= options.handshakes) {
        deps.metrics.streamRefused("limit");
        socket.destroy();
        return;
      }
      streams.add(socket);
      socket.once("close", () => streams.delete(socket));
      socket.on("error", () => socket.destroy());
      begin(socket).catch((error: unknown) => {
        const refused = error instanceof ConnectError && error.code === "CC_REQUEST_REFUSED";
        deps.metrics.streamRefused(refused ? "header" : "handshake");
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
      resolve(stream);
    });
    const closed = (): void => reject(new Error("The stream ended before its handshake"));
    stream.once("error", reject);
    stream.once("close", closed);
  });
}
