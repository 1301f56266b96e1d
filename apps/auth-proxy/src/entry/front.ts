import type { IncomingMessage } from "node:http";
import type { Server } from "node:net";
import type { Duplex } from "node:stream";
import type { Clock } from "@cluster-connect/base";
import { takeAll } from "@cluster-connect/base";
import type { StreamOrigin } from "@cluster-connect/protocol";
import type { Logger, OpenFileLimit } from "@cluster-connect/service";
import type { Certificates } from "../certificates/certificates.ts";
import type { Config } from "../config.ts";
import { LARGE_HEADS, LARGE_HEADS_PER_CALLER } from "../limits/limits.ts";
import { createQuota } from "../limits/quota.ts";
import type { ProxyMetrics } from "../observe/metrics.ts";
import type { Arrival } from "../proxying/arrival.ts";
import type { HttpCaller } from "../proxying/caller.ts";
import { http1Caller } from "../proxying/http1-caller.ts";
import { linger } from "../proxying/linger.ts";
import { type AcceptedStream, createAcceptor } from "./acceptor.ts";
import { createHttp2Server } from "./http2-server.ts";
import { listenAt } from "./listen.ts";
import type { Refusal } from "./refusals.ts";
import { createStreamServer } from "./server.ts";

/** Handlers of incoming requests; each gets the origin of the request's stream. */
export interface FrontHandlers {
  readonly request: (caller: HttpCaller, arrival: Arrival) => void;
  readonly upgrade: (request: IncomingMessage, client: Duplex, head: Buffer, arrival: Arrival) => void;
  /** Writes down a request that was refused before any other handler got it. */
  readonly refused: (origin: StreamOrigin, refusal: Refusal) => void;
}

export interface FrontDeps {
  readonly certificates: Pick<Certificates, "serving">;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: ProxyMetrics;
  readonly openFileLimit?: OpenFileLimit | undefined;
}

/** The side that agents see: sockets become TLS streams, and those become requests. */
export interface Front {
  /** Streams that are open. */
  readonly open: () => number;
  /** Connections over HTTP/2 among them. */
  readonly http2Sessions: () => number;
  /** Requests and upgrades whose stream is open and that are not answered yet. */
  readonly unanswered: () => number;
  /** @returns the port, where an address is listened on. */
  listen(): Promise<number | undefined>;
  /** Takes no more sockets and closes those that are idle. */
  refuseNew(): void;
  /** Breaks off the streams that are left. Resolves when the last socket is closed. */
  close(): Promise<void>;
}

export function createFront(
  config: Pick<Config, "listen" | "limits" | "http2">,
  handlers: FrontHandlers,
  deps: FrontDeps,
): Front {
  const { streams: most, handshakes } = config.limits;
  const accepted = new WeakMap<object, AcceptedStream>();
  const originOf = (socket: object): StreamOrigin => accepted.get(socket)?.origin ?? {};
  const largeHeads = createQuota(
    { what: "requests with a head of more than 96 KiB", all: "a fixed limit", perCaller: "a fixed limit" },
    { all: LARGE_HEADS, perCaller: LARGE_HEADS_PER_CALLER },
  );
  const streams = createStreamServer(
    {
      request: (request, response, gone) =>
        handlers.request(http1Caller(request, response), { origin: originOf(request.socket), gone }),
      upgrade: (request, client, head, gone) =>
        handlers.upgrade(request, client, head, { origin: originOf(client), gone }),
      refused: (client, refusal) => handlers.refused(originOf(client), refusal),
      fault: (client) => accepted.get(client)?.fault,
      takeLargeHead: (client) => {
        const { username, sessionId } = originOf(client);
        return takeAll([largeHeads.enter, () => largeHeads.enterCaller(username ?? sessionId ?? "")]);
      },
      accept: (socket) => acceptor.accept(socket),
    },
    deps,
  );
  const http2 = createHttp2Server(
    {
      request: (caller, connection, gone) => handlers.request(caller, { origin: originOf(connection), gone }),
      refused: (connection, refusal) => handlers.refused(originOf(connection), refusal),
      fault: (connection) => accepted.get(connection)?.fault,
    },
    deps,
  );
  const proxyProtocol = "socket" in config.listen || config.listen.proxyProtocol;
  const acceptor = createAcceptor(
    { proxyProtocol, http2: config.http2, streams: most, handshakes },
    {
      context: deps.certificates.serving.context,
      onStream(one) {
        accepted.set(one.stream, one);
        // Node calls this after a last answer.
        one.stream.destroySoon = () => linger(one.stream, deps.clock);
        if (one.stream.alpnProtocol === "h2") http2.serve(one.stream);
        else streams.serve(one.stream);
      },
      clock: deps.clock,
      log: deps.log,
      metrics: deps.metrics,
      openFileLimit: deps.openFileLimit,
    },
  );
  let closed: Promise<void> | undefined;
  return {
    open: acceptor.open,
    http2Sessions: http2.sessions,
    unanswered: () => streams.unanswered() + http2.unanswered(),
    listen: () => listenAt(streams.server, config.listen),
    refuseNew() {
      closed ??= closing(streams.server);
      streams.server.closeIdleConnections();
      http2.refuseNew();
    },
    async close() {
      closed ??= closing(streams.server);
      streams.server.closeAllConnections();
      http2.close();
      acceptor.closeAll();
      await closed;
    },
  };
}

function closing(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}
