import type { Readable, Writable } from "node:stream";
import type { RequestHead } from "../admission/rules.ts";

/** The head of an answer. */
export interface AnswerHead {
  readonly status: number;
  /** The reason phrase, which HTTP/2 does not have. */
  readonly message?: string;
  /** Names and values in turn, none of them of this hop. */
  readonly headers: readonly string[];
  /** Whether a `Date` of our own is added. */
  readonly date: boolean;
  /** Whether nothing else is taken on the caller's connection, where it carries one request at a time. */
  readonly close: boolean;
}

/** One request of a caller and the answer to it, over either version of HTTP. */
export interface HttpCaller {
  readonly head: RequestHead;
  readonly accept: string | undefined;
  /** Whether the caller waits for our word before it sends the body. */
  readonly expectsContinue: boolean;
  /** The request's body. An end of it says nothing before `bodyEnded` does. */
  readonly body: Readable;
  /** Takes the answer's body. Destroyed without an error it may look complete: see `cut`. */
  readonly answer: Writable;
  /** Whether the request is here to its very end. */
  readonly bodyEnded: () => boolean;
  /** Lines that came behind the body, names and values in turn. */
  readonly trailers: () => readonly string[];
  readonly headSent: () => boolean;
  /** Grows with each byte that moves in either direction. */
  readonly moved: () => number;
  readonly isGone: () => boolean;
  sendContinue(): void;
  sendHead(head: AnswerHead): void;
  /** Lines that go out behind the answer's body; to be called before its end. */
  addTrailers(lines: readonly (readonly [string, string])[]): void;
  /** Breaks the answer off, so that it does not look complete. */
  cut(): void;
  /** Takes and drops the rest of the body: bytes that are not taken would hold up an early answer. */
  dropRest(): void;
  /** Ends the caller's connection as soon as the requests on it are answered, where it carries several. */
  retire(): void;
}
