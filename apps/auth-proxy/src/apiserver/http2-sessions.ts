import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2 } from "node:http2";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { type Clock, raceAbort, type Timer } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import {
  HTTP2_CONNECTION_BYTES,
  HTTP2_MEMORY_MEGABYTES,
  MAX_HEADER_BYTES,
  UPSTREAM_DIAL_MS,
  UPSTREAM_HTTP1_MS,
  UPSTREAM_IDLE_MS,
  UPSTREAM_IDLE_SESSIONS,
  UPSTREAM_WINDOW_BYTES,
} from "../limits/limits.ts";
import { unreachable } from "./answer.ts";

/** A place for one request on a connection to the apiserver. */
export interface SessionPlace {
  /** Opens the stream; to be called once, and at once. */
  request(
    head: string[],
    options: { readonly endStream: boolean; readonly waitForTrailers: boolean },
  ): ClientHttp2Stream;
}

/** Connections to the apiserver over HTTP/2, each for one caller alone. */
export interface Http2Sessions {
  /**
   * @returns undefined where the apiserver speaks HTTP/1.1 alone.
   * @throws ConnectError `CC_APISERVER_UNREACHABLE`; the signal's reason.
   */
  take(caller: string, options: { readonly signal: AbortSignal }): Promise<SessionPlace | undefined>;
  readonly size: () => number;
  close(): void;
}

export interface Http2SessionsDeps {
  readonly ca: () => string;
  readonly clock: Pick<Clock, "setTimer">;
}

interface Connection {
  readonly session: ClientHttp2Session;
  /** The authority that it was dialed with. */
  readonly ca: string;
  open: number;
  idle: Timer | undefined;
}

/** One caller's connections. */
interface Pool {
  readonly connections: Set<Connection>;
  dialing: Promise<boolean> | undefined;
}

/**
 * A caller's streams share connections with no other's: what one caller's answers do to a connection (a head that is too
 * long, a flood, an end) is that caller's alone, and so is what the compression of heads remembers.
 */
export function createHttp2Sessions(
  address: { readonly host: string; readonly port: number },
  deps: Http2SessionsDeps,
): Http2Sessions {
  const pools = new Map<string, Pool>();
  const { rest, wake } = createIdleConnections(deps.clock);
  let ticket: { readonly ca: string; readonly session: Buffer } | undefined;
  /** Set while the apiserver is known to speak HTTP/1.1 alone. */
  let http1: Timer | undefined;

  function poolOf(caller: string): Pool {
    const known = pools.get(caller);
    if (known !== undefined) return known;
    const pool: Pool = { connections: new Set(), dialing: undefined };
    pools.set(caller, pool);
    return pool;
  }

  function keep(caller: string, pool: Pool, session: ClientHttp2Session, ca: string): void {
    const connection: Connection = { session, ca, open: 0, idle: undefined };
    const forget = (): void => {
      wake(connection);
      pool.connections.delete(connection);
      if (pool.connections.size === 0 && pool.dialing === undefined) pools.delete(caller);
    };
    pools.set(caller, pool);
    pool.connections.add(connection);
    session.on("error", () => {}); // close follows
    session.once("goaway", () => session.close());
    session.once("close", forget);
    rest(connection);
  }

  /** The place is taken here: several requests may look for one before the first of them opens its stream. */
  function placeOn(connection: Connection): SessionPlace {
    wake(connection);
    connection.open += 1;
    return {
      request(head, options) {
        const stream = connection.session.request(head, options);
        stream.once("close", () => {
          connection.open -= 1;
          if (connection.open === 0) rest(connection);
        });
        return stream;
      },
    };
  }

  /** @returns false where the apiserver chose HTTP/1.1. */
  async function dial(caller: string, pool: Pool): Promise<boolean> {
    const ca = deps.ca();
    const socket = await dialTls(address, { ca, session: ticket?.ca === ca ? ticket.session : undefined }, deps);
    if (socket.alpnProtocol !== "h2") {
      socket.destroy();
      http1 ??= deps.clock.setTimer(UPSTREAM_HTTP1_MS, () => {
        http1 = undefined;
      });
      return false;
    }
    socket.on("session", (session: Buffer) => {
      ticket = { ca, session };
    });
    keep(caller, pool, await openSession(socket, deps), ca);
    return true;
  }

  async function dialOnce(caller: string, pool: Pool): Promise<boolean> {
    pool.dialing ??= dial(caller, pool).finally(() => {
      pool.dialing = undefined;
      if (pool.connections.size === 0) pools.delete(caller);
    });
    return pool.dialing;
  }

  return {
    async take(caller, { signal }) {
      for (;;) {
        signal.throwIfAborted();
        if (http1 !== undefined) return undefined;
        const pool = poolOf(caller);
        const connection = freeConnection(pool, deps.ca());
        if (connection !== undefined) return placeOn(connection);
        if (!(await raceAbort(dialOnce(caller, pool), signal))) return undefined;
      }
    },
    size: () => [...pools.values()].reduce((sum, pool) => sum + pool.connections.size, 0),
    close() {
      http1?.cancel();
      for (const pool of pools.values()) {
        for (const { session } of pool.connections) session.destroy();
      }
    },
  };
}

interface IdleConnections {
  rest(connection: Connection): void;
  wake(connection: Connection): void;
}

/** Closes connections that carry nothing: each after a while, the oldest at once when there are too many. */
function createIdleConnections(clock: Pick<Clock, "setTimer">): IdleConnections {
  const idle = new Set<Connection>();
  return {
    rest(connection) {
      if (connection.session.closed) return;
      idle.add(connection);
      connection.idle = clock.setTimer(UPSTREAM_IDLE_MS, () => connection.session.close());
      const [oldest] = idle;
      if (idle.size > UPSTREAM_IDLE_SESSIONS) oldest?.session.close();
    },
    wake(connection) {
      idle.delete(connection);
      connection.idle?.cancel();
    },
  };
}

/** A connection with room, of the authority that is trusted now; one of a former authority ends with its streams. */
function freeConnection(pool: Pool, ca: string): Connection | undefined {
  for (const connection of pool.connections) {
    const { session } = connection;
    if (session.closed || session.destroyed) continue;
    if (connection.ca !== ca) session.close();
    else if (connection.open < (session.remoteSettings.maxConcurrentStreams ?? Number.POSITIVE_INFINITY)) {
      return connection;
    }
  }
  return undefined;
}

interface DialOptions {
  readonly ca: string;
  readonly session: Buffer | undefined;
}

function dialTls(
  address: { readonly host: string; readonly port: number },
  { ca, session }: DialOptions,
  { clock }: Http2SessionsDeps,
): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({
      ...address,
      ca,
      ALPNProtocols: ["h2", "http/1.1"],
      ...(session === undefined ? {} : { session }),
    });
    socket.setNoDelay(true);
    socket.setKeepAlive(true, UPSTREAM_IDLE_MS);
    const timer = clock.setTimer(UPSTREAM_DIAL_MS, () => socket.destroy(tooSlow()));
    socket.once("secureConnect", () => {
      timer.cancel();
      resolve(socket);
    });
    socket.on("error", (cause) => reject(unreachable(cause)));
    socket.once("close", () => {
      timer.cancel();
      reject(unreachable(new Error("closed")));
    });
  });
}

/** Resolves when the apiserver has told how many streams it takes. */
function openSession(socket: TLSSocket, { clock }: Http2SessionsDeps): Promise<ClientHttp2Session> {
  return new Promise((resolve, reject) => {
    const session = connectHttp2("https://apiserver", {
      createConnection: () => socket,
      settings: { enablePush: false, initialWindowSize: UPSTREAM_WINDOW_BYTES, maxHeaderListSize: MAX_HEADER_BYTES },
      maxSessionMemory: HTTP2_MEMORY_MEGABYTES,
      maxHeaderListPairs: 65_536,
      maxSendHeaderBlockLength: 2 ** 21,
    });
    const timer = clock.setTimer(UPSTREAM_DIAL_MS, () => session.destroy(tooSlow()));
    session.once("remoteSettings", () => {
      timer.cancel();
      session.setLocalWindowSize(HTTP2_CONNECTION_BYTES);
      resolve(session);
    });
    session.on("error", (cause) => reject(unreachable(cause)));
    session.once("close", () => {
      timer.cancel();
      reject(unreachable(new Error("closed")));
    });
  });
}

function tooSlow(): ConnectError {
  return new ConnectError("CC_APISERVER_UNREACHABLE", "The kube-apiserver could not be dialed in time");
}
