import {
  type Accept,
  ConnectError,
  decodeEnd,
  type ErrorCode,
  encodeAccept,
  encodeEnd,
  INITIAL_WINDOW_BYTES,
  type InstanceId,
  MAX_WINDOW_BYTES,
  type Open,
  type Resume,
  type StreamId,
  unaskedBytesOf,
} from "@cluster-connect/protocol";
import { type ByteQueue, createByteQueue } from "../bytes/byte-queue.ts";
import type { Frame } from "../frames/decode.ts";
import { errorOf } from "./end.ts";
import { initialWindow } from "./initial-window.ts";
import type { StreamHost, StreamMember } from "./member.ts";
import { MuxStream } from "./mux-stream.ts";

/** A stream's first frame. */
export type StreamRequest =
  | { readonly kind: "open"; readonly open: Open }
  | { readonly kind: "resume"; readonly resume: Resume };

export interface AcceptOptions {
  /** This process: a RESUME will name it. */
  readonly instanceId: InstanceId;
  /** How long the stream would be kept without a channel, milliseconds; 0 or absent for not at all. */
  readonly graceMs?: number;
  /** Receive window to begin with, bytes. */
  readonly windowBytes?: number;
}

/** The new owner of a stream whose first frame was not answered yet. */
export interface Adopted {
  readonly host: StreamHost;
  readonly streamId: StreamId;
  /** Frames that came meanwhile, in order. */
  readonly frames: readonly Frame[];
}

/**
 * A stream that the peer wants. It waits, holding at most what an opener may send unasked, until exactly one of
 * {@link accept}, {@link reject} and {@link adopt} answers.
 */
export class IncomingStream implements StreamMember {
  readonly request: StreamRequest;
  readonly streamId: StreamId;
  readonly #host: StreamHost;
  readonly #replace: (id: StreamId, member: StreamMember) => void;
  /** Made only when it is asked for. */
  #abort: AbortController | undefined;
  #gaveUp: ConnectError | undefined;
  /** Bytes that an opener may send before it has an answer; none of them once there is one. */
  #early: ByteQueue | undefined;
  #fin: Frame | undefined;
  #answered = false;

  /** @param replace puts another member in this one's place in the session. */
  constructor(
    host: StreamHost,
    streamId: StreamId,
    request: StreamRequest,
    replace: (id: StreamId, member: StreamMember) => void,
  ) {
    this.#host = host;
    this.streamId = streamId;
    this.request = request;
    this.#replace = replace;
  }

  /** Aborted when the opener gave up or its session was lost before there was an answer. */
  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.#gaveUp !== undefined) this.#abort.abort(this.#gaveUp);
    }
    return this.#abort.signal;
  }

  /** Whether {@link signal} is aborted. */
  get gaveUp(): boolean {
    return this.#gaveUp !== undefined;
  }

  /**
   * Takes the stream that OPEN asked for.
   *
   * @returns a stream whose bytes may be used at once; one that is already reset when the opener gave up meanwhile.
   * @throws ConnectError `CC_STREAM_STATE` for a RESUME or a second answer.
   */
  accept(options: AcceptOptions): MuxStream {
    const { request } = this;
    if (request.kind !== "open") throw new ConnectError("CC_STREAM_STATE", "A RESUME is not answered with ACCEPT");
    const windowBytes = options.windowBytes ?? initialWindow(this.#host.initialWindows);
    const graceMs = Math.min(options.graceMs ?? 0, request.open.graceMs);
    const accept: Accept = { windowBytes, instanceId: options.instanceId, graceMs };
    const stream = new MuxStream({
      side: "taker",
      windowBytes,
      sendLimit: Math.min(request.open.windowBytes, MAX_WINDOW_BYTES),
      unaskedBytes: unaskedBytesOf(request.open),
      slabs: this.#host.slabs,
    });
    if (this.gaveUp) {
      this.#answered = true;
      stream.reset("CC_CANCELLED", "The opener gave the stream up");
      return stream;
    }
    const { host, streamId, frames } = this.adopt(stream.endpoint);
    host.send("ACCEPT", streamId, [encodeAccept(accept)]);
    stream.endpoint.attach(host, streamId);
    replay(frames, stream.endpoint);
    return stream;
  }

  /** Refuses the stream. Text is one line without secrets. */
  reject(code: ErrorCode, text: string, retryAfterMs = 0): void {
    if (this.#answered) return;
    this.#answered = true;
    this.#early = undefined;
    if (this.gaveUp) return;
    this.#host.send("REJECT", this.streamId, [encodeEnd({ code, text, retryAfterMs })]);
    this.#host.release(this.streamId, this);
  }

  /**
   * Hands the stream to another member of the session, which answers it.
   *
   * @throws ConnectError `CC_STREAM_STATE` after an answer, `CC_CANCELLED` when the opener gave up.
   */
  adopt(member: StreamMember): Adopted {
    if (this.#answered) throw new ConnectError("CC_STREAM_STATE", "The stream was answered before");
    if (this.gaveUp) throw new ConnectError("CC_CANCELLED", "The opener gave the stream up");
    this.#answered = true;
    this.#replace(this.streamId, member);
    return { host: this.#host, streamId: this.streamId, frames: this.#takeEarly() };
  }

  frame(frame: Frame): void {
    const { type, payload } = frame;
    if (type === "RESET") {
      this.#giveUp(errorOf(decodeEnd(payload)));
      this.#host.release(this.streamId, this);
      return;
    }
    if ((type !== "DATA" && type !== "FIN") || this.request.kind === "resume" || this.#fin !== undefined) {
      throw new ConnectError("CC_STREAM_STATE", `${type} before the answer to the stream's first frame`);
    }
    if (type === "FIN") {
      this.#fin = frame;
      return;
    }
    if (payload.length === 0) throw new ConnectError("CC_STREAM_STATE", "DATA without a byte");
    this.#early ??= createByteQueue();
    if (this.#early.end + payload.length > unaskedBytesOf(this.request.open)) {
      throw new ConnectError("CC_FLOW_CONTROL", "More came before the answer than an opener may send");
    }
    this.#early.append(payload);
  }

  fail(error: ConnectError): void {
    if (this.#answered) return;
    this.#host.send("RESET", this.streamId, [encodeEnd({ code: error.code, text: error.message })]);
    this.#host.release(this.streamId, this);
    this.#giveUp(error);
  }

  lost(error: ConnectError): void {
    this.#giveUp(error);
  }

  turn(): { readonly bytes: number; readonly more: boolean } {
    return { bytes: 0, more: false };
  }

  #takeEarly(): Frame[] {
    const { streamId } = this;
    const payloads = this.#early?.read(0, INITIAL_WINDOW_BYTES) ?? [];
    // The user of the stream may keep this object for as long as the stream is there.
    this.#early = undefined;
    const frames: Frame[] = payloads.map((payload) => ({ type: "DATA", streamId, payload }));
    if (this.#fin !== undefined) frames.push(this.#fin);
    return frames;
  }

  #giveUp(error: ConnectError): void {
    this.#early = undefined;
    this.#gaveUp ??= error;
    this.#abort?.abort(error);
  }
}

/** Gives a member the frames that came before it was there; a frame against the rules fails it as usual. */
export function replay(frames: readonly Frame[], member: StreamMember): void {
  for (const frame of frames) {
    try {
      member.frame(frame);
    } catch (error) {
      if (!(error instanceof ConnectError)) throw error;
      member.fail(error);
      return;
    }
  }
}
