import type { ClientRequest, IncomingMessage } from "node:http";
import type { Readable, Writable } from "node:stream";
import type { HeaderLines } from "@cluster-connect/auth";
import { answerTo, isReset } from "./answer.ts";

/** The apiserver's answer, over either version of HTTP. */
export interface UpstreamAnswer {
  readonly status: number;
  /** The reason phrase; empty over HTTP/2. */
  readonly message: string;
  /** Names and values in turn. */
  readonly headers: readonly string[];
  readonly body: Readable;
  /** Whether the body is here to its very end; asked at the end of `body`. */
  readonly complete: () => boolean;
  /** Lines that came behind the body, names and values in turn. */
  readonly trailers: () => readonly string[];
}

/** Meaning of a failed call: the request was certainly not acted on, or perhaps not, or nothing is known. */
export type CallFate = "untaken" | "closedWhenReused" | "unknown";

/** One request under way to the apiserver. */
export interface UpstreamCall {
  /** Takes the request's body, and is to be ended. */
  readonly body: Writable;
  /** @throws ConnectError `CC_APISERVER_UNREACHABLE` when there is no answer. */
  answer(): Promise<UpstreamAnswer>;
  /** Lines that go out behind the body; to be called before its end. */
  addTrailers(lines: HeaderLines): void;
  readonly fate: (error: unknown) => CallFate;
}

/** A call over HTTP/1.1. */
export function http1Call(outgoing: ClientRequest): UpstreamCall {
  return {
    body: outgoing,
    answer: async () => http1Answer(await answerTo(outgoing)),
    addTrailers: (lines) => outgoing.addTrailers(lines.map(([name, value]): [string, string] => [name, value])),
    fate: (error) => (outgoing.reusedSocket && isReset(error) ? "closedWhenReused" : "unknown"),
  };
}

function http1Answer(answer: IncomingMessage): UpstreamAnswer {
  return {
    status: answer.statusCode ?? 0,
    message: answer.statusMessage ?? "",
    headers: answer.rawHeaders,
    body: answer,
    complete: () => answer.complete,
    trailers: () => answer.rawTrailers,
  };
}
