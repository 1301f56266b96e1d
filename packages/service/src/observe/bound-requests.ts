import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { guardSocket } from "./guard-socket.ts";

/** A client that pipelines waits for its answers in order; more of them than this are of no use to it. */
export const MAX_UNANSWERED_REQUESTS = 8;
/** A socket on which nothing moves for so long, such as one whose answers nobody reads, is closed. */
export const STALLED_SOCKET_MS = 30_000;

/** Node sets `upgrade` before it asks for a listener. */
type OnIncoming = (request: IncomingMessage & { readonly upgrade?: boolean | null }, keepAlive: boolean) => number;

interface Parser {
  onIncoming: OnIncoming;
}

/** Node's parser reads no further on its socket. */
const STOP = 2;

export interface BoundRequestsOptions {
  /** Told of each socket that is closed because it asked for more. */
  readonly onRefused?: () => void;
  readonly stalledMs?: number;
  /** Told why a socket could not be bound, and was ended for it. */
  readonly onFailed?: (error: unknown) => void;
}

/**
 * Bounds what a peer without any credential makes a server do with one socket: at most
 * {@link MAX_UNANSWERED_REQUESTS} requests wait for their answers, no upgrade comes behind them, and a socket that
 * stalls is closed. The parser is stopped in the middle of what was read: 64 KiB hold thousands of requests, and Node
 * makes objects for each of them before it looks again.
 */
export function boundRequests(server: Server, options: BoundRequestsOptions = {}): void {
  const { onRefused = () => undefined, stalledMs = STALLED_SOCKET_MS } = options;
  const unanswered = new WeakMap<object, number>();
  const countOf = (socket: object): number => unanswered.get(socket) ?? 0;
  server.timeout = stalledMs;
  const bound = guardSocket((socket: Duplex): void => {
    const parser: unknown = Reflect.get(socket, "parser");
    if (!isParser(parser)) return;
    const take = parser.onIncoming;
    parser.onIncoming = (request, keepAlive) => {
      if (socket.destroyed) return STOP;
      const waiting = countOf(socket);
      if (waiting < (request.upgrade === true ? 1 : MAX_UNANSWERED_REQUESTS)) return take(request, keepAlive);
      onRefused();
      // Node would hand the socket of an upgrade over.
      Reflect.set(request, "upgrade", false);
      socket.destroy();
      return STOP;
    };
  }, options.onFailed);
  // TLS tells of its sockets by another event, and of what is under them by this one.
  server.on("connection", bound);
  server.on("secureConnection", bound);
  server.prependListener("request", ({ socket }: IncomingMessage, response: ServerResponse) => {
    unanswered.set(socket, countOf(socket) + 1);
    response.once("close", () => unanswered.set(socket, countOf(socket) - 1));
  });
}

function isParser(value: unknown): value is Parser {
  return typeof value === "object" && value !== null && typeof Reflect.get(value, "onIncoming") === "function";
}
