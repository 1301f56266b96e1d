import { constants, type ServerHttp2Stream } from "node:http2";
import { type HeaderLines, headerValues, toHeaderLines, toHttp2Headers, toHttp2Trailers } from "@cluster-connect/auth";
import { ConnectError } from "@cluster-connect/protocol";
import type { RequestHead } from "../admission/rules.ts";
import { watchBody } from "../apiserver/http2-body.ts";
import type { AnswerHead, HttpCaller } from "./caller.ts";

export interface Http2CallerDeps {
  /** Whether no line of a block of this stream was left out. */
  readonly isWhole: (fields: number) => boolean;
  /** Asks the client to open another connection for its next streams. */
  readonly retire: () => void;
}

/** A request over HTTP/2. @param stream was just handed on by its session. */
export function http2Caller(stream: ServerHttp2Stream, head: RequestHead, deps: Http2CallerDeps): HttpCaller {
  const body = watchBody(stream);
  let trailers: readonly string[] = [];
  let trailersToSend: HeaderLines = [];
  let drains = 0;
  let dropped = false;
  stream.on("drain", () => {
    drains += 1;
  });
  stream.once("trailers", (_headers: unknown, _flags: number, raw: readonly string[]) => {
    if (deps.isWhole(raw.length / 2)) trailers = raw;
    else stream.close(constants.NGHTTP2_PROTOCOL_ERROR);
  });
  stream.once("wantTrailers", () => {
    stream.sendTrailers(toHttp2Trailers(trailersToSend));
    if (dropped) stream.close(constants.NGHTTP2_NO_ERROR);
  });

  function sendHead({ status, headers, date }: AnswerHead): void {
    if (stream.destroyed || stream.closed) throw new ConnectError("CC_CANCELLED", "The caller gave up");
    const lines = toHttp2Headers(toHeaderLines(headers));
    const options = { sendDate: date, waitForTrailers: true };
    stream.respond([":status", String(status), ...lines], options);
  }

  return {
    head,
    accept: headerValues(head.lines, "accept")[0],
    expectsContinue: headerValues(head.lines, "expect").length > 0,
    body: stream,
    answer: stream,
    bodyEnded: body.complete,
    trailers: () => trailers,
    headSent: () => stream.headersSent,
    moved: () => body.bytes() + drains,
    isGone: () => stream.destroyed || stream.closed,
    sendContinue: () => stream.additionalHeaders({ ":status": 100 }),
    sendHead,
    addTrailers(lines) {
      trailersToSend = lines;
    },
    cut() {
      // Without a code that says so a client could take the answer for complete.
      if (!stream.closed) stream.close(constants.NGHTTP2_INTERNAL_ERROR);
    },
    dropRest() {
      if (body.complete() || dropped) return;
      dropped = true;
      stream.unpipe();
      stream.resume();
    },
    retire: deps.retire,
  };
}
