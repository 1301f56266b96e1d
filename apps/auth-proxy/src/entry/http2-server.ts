import { constants, performServerHandshake, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { Duplex } from "node:stream";
import { type Clock, systemCode, type Timer } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import {
  HEADERS_TIMEOUT_MS,
  HTTP2_CONNECTION_BYTES,
  HTTP2_HEAD_BYTES,
  HTTP2_HEADER_LINES,
  HTTP2_MEMORY_MEGABYTES,
  HTTP2_RESETS,
  HTTP2_RESETS_PER_SECOND,
  HTTP2_STREAMS,
  HTTP2_WINDOW_BYTES,
} from "../limits/limits.ts";
import type { HttpCaller } from "../proxying/caller.ts";
import { type Http2CallerDeps, http2Caller } from "../proxying/http2-caller.ts";
import { checkHttp2Head, type Http2Head, http1HeadOf } from "../proxying/http2-head.ts";
import { statusAnswer } from "../proxying/status-body.ts";
import { createHeaderBlockReader, type HeaderBlockReader } from "./frame-watch.ts";
import { createHeadTable } from "./head-table.ts";
import { createIdleTimer } from "./idle-timer.ts";
import type { Refusal } from "./refusals.ts";
import { WatchedStream } from "./watched-stream.ts";

/** Handlers of the requests of HTTP/2 connections. */
export interface Http2Handlers {
  readonly request: (caller: HttpCaller, connection: Duplex, gone: AbortSignal) => void;
  /** Writes down a refused request. */
  readonly refused: (connection: Duplex, refusal: Refusal) => void;
  /** Reason to refuse every request of this connection, if there is one. */
  readonly fault: (connection: Duplex) => ConnectError | undefined;
}

/** The HTTP/2 side of the front. */
export interface Http2Server {
  /** Reads requests from a connection, TLS already ended. */
  serve(connection: Duplex): void;
  readonly sessions: () => number;
  /** Requests that are not answered yet. */
  readonly unanswered: () => number;
  /** Asks each client to open no more streams; a connection ends with its last one. */
  refuseNew(): void;
  close(): void;
}

const SESSION = {
  settings: {
    maxConcurrentStreams: HTTP2_STREAMS,
    maxHeaderListSize: HTTP2_HEAD_BYTES,
    initialWindowSize: HTTP2_WINDOW_BYTES,
    enableConnectProtocol: false,
  },
  maxHeaderListPairs: HTTP2_HEADER_LINES,
  maxSessionMemory: HTTP2_MEMORY_MEGABYTES,
  streamResetBurst: HTTP2_RESETS,
  streamResetRate: HTTP2_RESETS_PER_SECOND,
} as const;

export function createHttp2Server(
  handlers: Http2Handlers,
  deps: { readonly clock: Pick<Clock, "setTimer"> },
): Http2Server {
  const sessions = new Set<ServerHttp2Session>();
  let unanswered = 0;
  let stopping = false;

  /** @returns is aborted when the caller can no longer be answered. */
  function follow(stream: ServerHttp2Stream): AbortSignal {
    const gone = new AbortController();
    unanswered += 1;
    stream.once("close", () => {
      unanswered -= 1;
      if (!stream.writableFinished || stream.aborted) gone.abort();
    });
    return gone.signal;
  }

  function serve(connection: Duplex): void {
    const heads = createHeadTable();
    const reader = createHeaderBlockReader(heads.add);
    const { watch, cancel } = watchSlowHeads(reader, () => endSlow(), deps.clock);
    const session = performServerHandshake(new WatchedStream(connection, watch), SESSION);
    const endSlow = (): void => {
      const error = malformed("The request's head took too long");
      handlers.refused(connection, { error, status: 408 });
      session.destroy(error, constants.NGHTTP2_ENHANCE_YOUR_CALM);
    };
    const endIdle = (): void => (reader.unfinished() === undefined ? session.close() : endSlow());
    const idle = createIdleTimer(endIdle, deps.clock);
    sessions.add(session);
    session.setLocalWindowSize(HTTP2_CONNECTION_BYTES);
    session.on("error", (error: Error) => {
      if (isMalformed(error)) {
        const refused = malformed("The connection is refused: it is not well-formed HTTP/2");
        handlers.refused(connection, { error: refused, status: 400 });
      }
    });
    session.on("stream", (stream: ServerHttp2Stream, _headers, _flags, raw: readonly string[]) => {
      stream.on("error", () => {}); // close follows
      stream.once("close", idle.enter());
      try {
        const isWhole = (fields: number): boolean => heads.isWhole(stream.id ?? 0, fields);
        const head = { raw, hasBody: hasBody(stream), whole: isWhole(raw.length / 2) };
        onRequest(stream, head, { isWhole, retire: () => session.close() }, connection);
      } catch {
        // A failure on one connection ends that connection alone.
        session.destroy();
      }
    });
    session.once("close", () => {
      sessions.delete(session);
      idle.cancel();
      cancel();
      connection.destroy();
    });
    if (stopping) session.close();
  }

  function onRequest(stream: ServerHttp2Stream, head: Http2Head, caller: Http2CallerDeps, connection: Duplex): void {
    const asked = http2Caller(stream, http1HeadOf(head), caller);
    const refusal = refusalOf(head, handlers.fault(connection));
    if (refusal === undefined) {
      handlers.request(asked, connection, follow(stream));
      return;
    }
    const { method, target: url } = asked.head;
    handlers.refused(connection, { ...refusal, request: { method, url } });
    answerRefusal(asked, refusal);
  }

  return {
    serve,
    sessions: () => sessions.size,
    unanswered: () => unanswered,
    refuseNew() {
      stopping = true;
      for (const session of sessions) session.close();
    },
    close() {
      for (const session of sessions) session.destroy();
    },
  };
}

/** Whether there is a body, or it is not known yet: an empty one may end in a frame of its own, in the same packet. */
function hasBody(stream: ServerHttp2Stream): boolean {
  return !stream.endAfterHeaders && (stream.readableLength > 0 || stream.state.remoteClose !== 1);
}

/** Gives up on a client whose block of header lines goes on for too long. */
function watchSlowHeads(
  reader: HeaderBlockReader,
  end: () => void,
  clock: Pick<Clock, "setTimer">,
): { readonly watch: (chunk: Buffer) => void; readonly cancel: () => void } {
  let slow: { readonly streamId: number; readonly timer: Timer } | undefined;
  const cancel = (): void => {
    slow?.timer.cancel();
    slow = undefined;
  };
  return {
    cancel,
    watch(chunk) {
      reader.push(chunk);
      const streamId = reader.unfinished();
      if (streamId === slow?.streamId) return;
      cancel();
      if (streamId !== undefined) slow = { streamId, timer: clock.setTimer(HEADERS_TIMEOUT_MS, end) };
    },
  };
}

function refusalOf(head: Http2Head, fault: ConnectError | undefined): Omit<Refusal, "request"> | undefined {
  if (fault !== undefined) return { error: fault, status: 429 };
  try {
    checkHttp2Head(head);
    return undefined;
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error;
    return { error, status: 400 };
  }
}

function answerRefusal(caller: HttpCaller, { error, status }: Refusal): void {
  if (caller.isGone()) return;
  const { headers, body } = statusAnswer(error, { status });
  caller.sendHead({ status, headers, date: true, close: true });
  caller.answer.end(body);
  caller.dropRest();
  if (status === 429) caller.retire();
}

/** An error of the client that the parser found, and none that the client has told us. */
function isMalformed(error: Error): boolean {
  const code = systemCode(error);
  return code === "ERR_HTTP2_ERROR" || code === "ERR_HTTP2_TOO_MANY_INVALID_FRAMES";
}

function malformed(message: string): ConnectError {
  return new ConnectError("CC_REQUEST_REFUSED", message);
}
