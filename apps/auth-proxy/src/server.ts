import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { ConnectError } from "@cluster-connect/protocol";
import { HEADERS_CHECK_MS, HEADERS_TIMEOUT_MS, KEEP_ALIVE_MS, MAX_HEADER_BYTES } from "./limits.ts";
import { statusAnswer } from "./status-body.ts";

/** What the HTTP server does with what it parsed. */
export interface ServerHandlers {
  readonly request: (request: IncomingMessage, response: ServerResponse) => void;
  readonly upgrade: (request: IncomingMessage, client: Duplex, head: Buffer) => void;
  /** Takes an accepted socket; gives a stream of plain HTTP to `serve`. */
  readonly accept: (socket: Socket) => void;
}

/** The HTTP server, and the way by which streams get into it. */
export interface StreamServer {
  readonly server: Server;
  /** Parses HTTP from a stream, TLS already ended. */
  serve(stream: Socket): void;
}

/** An HTTP/1.1 server that takes its streams from {@link ServerHandlers.accept}; it listens to nothing yet. */
export function createStreamServer(handlers: ServerHandlers): StreamServer {
  const server = createServer({
    maxHeaderSize: MAX_HEADER_BYTES,
    insecureHTTPParser: false,
    // A long upload is no fault; what does not go on is found by the sweep.
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
  const parse = server.listeners("connection");
  server.removeAllListeners("connection");
  server.on("connection", handlers.accept);
  const unanswered = new WeakMap<Duplex, number>();
  const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    const { socket } = request;
    unanswered.set(socket, (unanswered.get(socket) ?? 0) + 1);
    response.once("close", () => unanswered.set(socket, (unanswered.get(socket) ?? 1) - 1));
    handlers.request(request, response);
  };
  server.on("request", onRequest);
  server.on("checkContinue", onRequest);
  server.on("upgrade", (request: IncomingMessage, client: Duplex, head: Buffer) => {
    // The parser does not wait: its answer would come before those that are due, and theirs in the middle of its bytes.
    if ((unanswered.get(client) ?? 0) > 0) client.destroy();
    else handlers.upgrade(request, client, head);
  });
  server.on("connect", (_request: IncomingMessage, client: Duplex) => {
    refuse(client, new ConnectError("CC_REQUEST_REFUSED", "The request is refused: CONNECT is not served"), 405);
  });
  server.on("clientError", (error: NodeJS.ErrnoException, client: Duplex) => refuse(client, ...parserError(error)));
  return {
    server,
    serve(stream) {
      for (const listener of parse) Reflect.apply(listener, server, [stream]);
    },
  };
}

function parserError(error: NodeJS.ErrnoException): [ConnectError, number] {
  switch (error.code) {
    case "HPE_HEADER_OVERFLOW":
      return [
        new ConnectError("CC_REQUEST_REFUSED", `The request's head has more than ${MAX_HEADER_BYTES} bytes`),
        431,
      ];
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return [new ConnectError("CC_REQUEST_REFUSED", "The request's head took too long"), 408];
    default:
      return [new ConnectError("CC_REQUEST_REFUSED", "The request is refused: it is not well-formed HTTP/1.1"), 400];
  }
}

/** Says why, where there is somebody to listen, and closes. */
function refuse(client: Duplex, error: ConnectError, status: number): void {
  if (client.destroyed || !client.writable) {
    client.destroy();
    return;
  }
  const { headers, body } = statusAnswer(error, { status });
  const lines = [`HTTP/1.1 ${status} `, "Connection: close"];
  for (let index = 0; index + 1 < headers.length; index += 2) lines.push(`${headers[index]}: ${headers[index + 1]}`);
  client.on("error", () => client.destroy());
  client.end(Buffer.concat([Buffer.from(`${lines.join("\r\n")}\r\n\r\n`), body]), () => client.destroy());
}
