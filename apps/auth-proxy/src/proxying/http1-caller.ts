import type { IncomingMessage, ServerResponse } from "node:http";
import { toHeaderLines } from "@cluster-connect/auth";
import type { RequestHead } from "../admission/rules.ts";
import type { AnswerHead, HttpCaller } from "./caller.ts";

/** Statuses whose answers have no body. */
const BODILESS: ReadonlySet<number> = new Set([204, 304]);

/** The head of a request as `node:http` parsed it. */
export function http1Head(request: IncomingMessage): RequestHead {
  return {
    method: request.method ?? "",
    target: request.url ?? "",
    httpVersion: request.httpVersion,
    lines: toHeaderLines(request.rawHeaders),
  };
}

/** A request over HTTP/1.1. */
export function http1Caller(request: IncomingMessage, response: ServerResponse): HttpCaller {
  const { socket } = request;

  function sendHead({ status, message, headers, date, close }: AnswerHead): void {
    const lines = close ? [...headers, "Connection", "close"] : [...headers];
    response.sendDate = date;
    if (message === undefined) response.writeHead(status, lines);
    else response.writeHead(status, message, lines);
    // Goes out before there is a body. `flushHeaders` would write its bytes as UTF-8: each above 0x7f twice.
    if (request.method !== "HEAD" && !BODILESS.has(status)) response.write(Buffer.alloc(0));
  }

  return {
    head: http1Head(request),
    accept: request.headers.accept,
    expectsContinue: request.headers.expect !== undefined,
    body: request,
    answer: response,
    bodyEnded: () => request.complete,
    trailers: () => request.rawTrailers,
    headSent: () => response.headersSent,
    moved: () => socket.bytesRead + socket.bytesWritten,
    isGone: () => socket.destroyed,
    sendContinue: () => response.writeContinue(),
    sendHead,
    addTrailers: (lines) => response.addTrailers(lines.map(([name, value]): [string, string] => [name, value])),
    cut: () => void response.destroy(),
    dropRest() {
      if (request.complete) return;
      request.unpipe();
      request.resume();
    },
    retire() {},
  };
}
