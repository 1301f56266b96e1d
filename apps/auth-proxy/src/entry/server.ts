import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { type Clock, type Release, systemCode } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import {
  HEADERS_CHECK_MS,
  HEADERS_TIMEOUT_MS,
  KEEP_ALIVE_MS,
  MAX_HEADER_BYTES,
  MAX_UNANSWERED,
} from "../limits/limits.ts";
import { createExchanges } from "./exchanges.ts";
import { type HeadWatch, watchHeads } from "./head-watch.ts";
import { createRefusals, type Refusal } from "./refusals.ts";

/** The HTTP server's handlers of parsed requests. */
export interface ServerHandlers {
  readonly request: (request: IncomingMessage, response: ServerResponse, gone: AbortSignal) => void;
  readonly upgrade: (request: IncomingMessage, client: Duplex, head: Buffer, gone: AbortSignal) => void;
  /** Writes down a refused request. */
  readonly refused: (client: Duplex, refusal: Refusal) => void;
  /** Reason to refuse every request of this stream, if there is one. */
  readonly fault: (client: Duplex) => ConnectError | undefined;
  /** Takes a place for a long head. @throws ConnectError `CC_LIMIT_REACHED`. */
  readonly takeLargeHead: (client: Duplex) => Release;
  /** Takes an accepted socket; gives a stream of plain HTTP to `serve`. */
  readonly accept: (socket: Socket) => void;
}

/** The HTTP server, and the way by which streams get into it. */
export interface StreamServer {
  readonly server: Server;
  /** Parses HTTP from a stream, TLS already ended. */
  serve(stream: Socket): void;
  /** Requests and upgrades whose stream is open and that are not answered yet. */
  readonly unanswered: () => number;
}

/** An HTTP/1.1 server that takes its streams from {@link ServerHandlers.accept}; it listens to nothing yet. */
export function createStreamServer(
  handlers: ServerHandlers,
  deps: { readonly clock: Pick<Clock, "setTimer"> },
): StreamServer {
  const server = createHttpServer();
  const parse = server.listeners("connection");
  server.removeAllListeners("connection");
  const exchanges = createExchanges();
  const heads = new WeakMap<Duplex, HeadWatch>();
  const refusals = createRefusals({ refused: handlers.refused, exchanges, clock: deps.clock });

  function onRequest(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    if (refusals.drops(socket)) return;
    const leaveHead = heads.get(socket)?.parsed(request);
    if (leaveHead !== undefined) {
      response.once("close", leaveHead);
      socket.once("close", leaveHead);
    }
    const fault = handlers.fault(socket) ?? (exchanges.of(socket) >= MAX_UNANSWERED ? tooManyUnanswered() : undefined);
    if (fault !== undefined) refusals.inTurn(response, { error: fault, status: 429, request });
    else handlers.request(request, response, exchanges.begin(socket, response));
  }

  function onUpgrade(request: IncomingMessage, client: Duplex, head: Buffer): void {
    const leaveHead = heads.get(client)?.parsed(request);
    if (leaveHead !== undefined) client.once("close", leaveHead);
    heads.get(client)?.end();
    const fault = handlers.fault(client);
    if (fault !== undefined) refusals.now(client, { error: fault, status: 429, request });
    else if (exchanges.of(client) > 0) refusals.now(client, { error: upgradeTooEarly(), status: 400, request });
    else handlers.upgrade(request, client, head, exchanges.begin(client));
  }

  function onConnect(request: IncomingMessage, client: Duplex): void {
    const error = new ConnectError("CC_REQUEST_REFUSED", "The request is refused: CONNECT is not served");
    heads.get(client)?.end();
    refusals.now(client, { error, status: 405, request });
  }

  function onParserError(error: Error, client: Duplex): void {
    const code = systemCode(error);
    if (code === "ECONNRESET" || code === "EPIPE") client.destroy();
    else refusals.now(client, parserRefusal(code));
  }

  /** A failure on one stream ends that stream alone. */
  const guarded =
    <Rest extends readonly unknown[]>(handle: (...rest: Rest) => void, clientOf: (...rest: Rest) => Duplex) =>
    (...rest: Rest): void => {
      try {
        handle(...rest);
      } catch {
        clientOf(...rest).destroy();
      }
    };
  server.on(
    "connection",
    guarded(handlers.accept, (socket) => socket),
  );
  server.on(
    "request",
    guarded(onRequest, ({ socket }) => socket),
  );
  server.on(
    "checkContinue",
    guarded(onRequest, ({ socket }) => socket),
  );
  server.on(
    "upgrade",
    guarded(onUpgrade, (_request, client) => client),
  );
  server.on(
    "connect",
    guarded(onConnect, (_request, client) => client),
  );
  server.on(
    "clientError",
    guarded(onParserError, (_error, client) => client),
  );
  return {
    server,
    unanswered: exchanges.size,
    serve(stream) {
      for (const listener of parse) Reflect.apply(listener, server, [stream]);
      const take = (): Release | undefined => {
        try {
          return handlers.takeLargeHead(stream);
        } catch (error) {
          if (!(error instanceof ConnectError)) throw error;
          refusals.now(stream, { error, status: 429 });
          return undefined;
        }
      };
      heads.set(stream, watchHeads(stream, take));
    },
  };
}

function createHttpServer(): Server {
  const server = createServer({
    maxHeaderSize: MAX_HEADER_BYTES,
    insecureHTTPParser: false,
    // A long upload is no fault; the sweep finds a stalled one.
    requestTimeout: 0,
    headersTimeout: HEADERS_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    connectionsCheckingInterval: HEADERS_CHECK_MS,
    // Our own rules answer with a Status.
    requireHostHeader: false,
    rejectNonStandardBodyWrites: true,
  });
  // None is cut off silently: there are rules for too many.
  server.maxHeadersCount = 0;
  server.timeout = 0;
  return server;
}

/** The parser of HTTP/1.1 takes no byte above 0x7f there; over HTTP/2 such a target passes. */
const UNREADABLE_TARGET =
  "The request is refused: its target has a byte that has to be percent-encoded, such as %C3%B6 for ö";

function parserRefusal(code: string): Refusal {
  switch (code) {
    case "HPE_HEADER_OVERFLOW":
      return { error: malformed(`The request's head has more than ${MAX_HEADER_BYTES} bytes`), status: 431 };
    case "HPE_INVALID_URL":
      return { error: malformed(UNREADABLE_TARGET), status: 400 };
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return { error: malformed("The request's head took too long"), status: 408 };
    default:
      return { error: malformed("The request is refused: it is not well-formed HTTP/1.1"), status: 400 };
  }
}

function malformed(message: string): ConnectError {
  return new ConnectError("CC_REQUEST_REFUSED", message);
}

function tooManyUnanswered(): ConnectError {
  const message = `There are ${MAX_UNANSWERED} requests on this connection that are not answered yet`;
  return new ConnectError("CC_LIMIT_REACHED", message, { hint: "Wait for answers, or open another connection." });
}

function upgradeTooEarly(): ConnectError {
  return malformed("The request is refused: an upgrade came before the answers to the requests before it");
}
