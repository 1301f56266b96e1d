import type { StreamId } from "@cluster-connect/protocol";
import {
  ConnectError,
  decodeAccept,
  decodeEnd,
  decodeResumed,
  decodeU64,
  decodeWindow,
  type ErrorCode,
  INITIAL_WINDOW_BYTES,
} from "@cluster-connect/protocol";
import type { Frame } from "./decode.ts";
import { errorOf } from "./endpoint.ts";
import { type IncomingStream, replay, type StreamRequest } from "./incoming.ts";
import { Leg, type LegOwner } from "./leg.ts";
import { suspends } from "./lost.ts";
import type { StreamHost, StreamMember } from "./stream-host.ts";

/** How a forwarded stream ended here; it may go on by a RESUME that takes another way. */
export interface ForwardEnd {
  /** undefined: both directions ended and were acknowledged. */
  readonly error: ConnectError | undefined;
  /** Bytes from the opener to the taker, and back. */
  readonly upBytes: number;
  readonly downBytes: number;
}

/** A stream that passes through: two legs in two sessions. */
export interface Forward {
  /** Never rejects. */
  readonly done: Promise<ForwardEnd>;
  /** Resolves when the taker accepted or resumed the stream; rejects with the reason when it never does. */
  readonly answered: Promise<void>;
  /** Ends both legs. Text is one line without secrets. */
  reset(code: ErrorCode, text: string): void;
}

/** Where the second leg goes; a session is one. */
export interface ForwardTarget {
  /** @throws ConnectError when the session takes no more streams. */
  addMember(member: StreamMember, request: StreamRequest): { readonly host: StreamHost; readonly streamId: StreamId };
}

/** One direction as it is seen passing. */
interface Direction {
  /** Bytes sent into it so far, and up to where there is credit. */
  offset: number;
  limit: number;
  bytes: number;
  /** Everything below was taken by the receiving endpoint; FIN counts as one byte. */
  consumed: number;
  final: number | undefined;
}

/**
 * Joins an incoming stream with a new one in another session.
 *
 * Payloads pass untouched and credit is end to end: what waits here for a turn is never more than the credit that the
 * receiving endpoint gave, and a sender that goes beyond it is reset.
 *
 * @param request first frame of the second leg: the incoming one, rewritten.
 * @throws ConnectError as {@link ForwardTarget.addMember}, or `CC_CANCELLED` when the opener gave up meanwhile; the
 *   incoming stream then still waits for its answer.
 */
export function forwardStream(incoming: IncomingStream, target: ForwardTarget, request: StreamRequest): Forward {
  if (incoming.signal.aborted) throw new ConnectError("CC_CANCELLED", "The opener gave the stream up");
  const done = Promise.withResolvers<ForwardEnd>();
  const answered = Promise.withResolvers<void>();
  answered.promise.catch(() => {});
  const up = direction(0, 0, request.kind === "open" ? INITIAL_WINDOW_BYTES : 0);
  const down =
    request.kind === "open"
      ? direction(0, 0, request.open.windowBytes)
      : direction(request.resume.received, request.resume.consumed, request.resume.windowBytes);
  let isAnswered = false;
  let over = false;

  const owner: LegOwner = {
    frame(leg, frame) {
      const to = leg === opener ? taker : opener;
      switch (frame.type) {
        case "DATA":
        case "FIN":
          if (!isAnswered && (leg === taker || request.kind === "resume")) outOfTurn(frame);
          sent(leg === opener ? up : down, frame);
          if (frame.type === "DATA") to.queueBytes(frame.payload);
          else to.queueFin(frame.payload);
          endWhenDone();
          return;
        case "WINDOW":
          if (!isAnswered) outOfTurn(frame);
          credit(leg === opener ? down : up, frame.payload);
          to.send("WINDOW", frame.payload);
          endWhenDone();
          return;
        case "ACCEPT":
        case "RESUMED":
          if (leg === opener || isAnswered) outOfTurn(frame);
          answer(frame);
          return to.send(frame.type, frame.payload);
        case "REJECT":
          if (leg === opener || isAnswered) outOfTurn(frame);
          to.send("REJECT", frame.payload);
          return end(errorOf(decodeEnd(frame.payload)));
        case "RESET":
          to.send("RESET", frame.payload);
          return end(errorOf(decodeEnd(frame.payload)));
        case "OPEN":
        case "RESUME":
        case "HELLO":
        case "READY":
        case "PING":
        case "PONG":
        case "GOAWAY":
        case "HOPACK":
          return outOfTurn(frame);
      }
    },
    fail: (_leg, error) => reset(error.code, error.message),
    lost(leg, error) {
      const to = leg === opener ? taker : opener;
      if (suspends(error.code)) to.reset("CC_CHANNEL_LOST", "The channel behind the relay is lost");
      else to.reset(error.code, error.message);
      end(error);
    },
  };
  const opener = new Leg("opener", owner);
  const taker = new Leg("taker", owner);

  function answer(frame: Frame): void {
    if (frame.type === "ACCEPT" && request.kind === "open") {
      up.limit = Math.max(up.limit, decodeAccept(frame.payload).windowBytes);
    } else if (frame.type === "RESUMED" && request.kind === "resume") {
      const offsets = decodeResumed(frame.payload);
      up.offset = offsets.received;
      up.consumed = offsets.consumed;
      up.limit = offsets.consumed + offsets.windowBytes;
    } else {
      outOfTurn(frame);
    }
    isAnswered = true;
    answered.resolve();
  }

  /** Both FINs were acknowledged. After a RESUME the acknowledgement may have been known before FIN is said again. */
  function endWhenDone(): void {
    if (isAcked(up) && isAcked(down)) end(undefined);
  }

  function end(error: ConnectError | undefined): void {
    if (over) return;
    over = true;
    opener.release();
    taker.release();
    answered.reject(error ?? new ConnectError("CC_STREAM_RESET", "The stream ended without an answer"));
    done.resolve({ error, upBytes: up.bytes, downBytes: down.bytes });
  }

  function reset(code: ErrorCode, text: string): void {
    if (over) return;
    opener.reset(code, text);
    taker.reset(code, text);
    end(new ConnectError(code, text));
  }

  // The second leg first: when its session takes no stream, the incoming one still waits for an answer.
  const second = target.addMember(taker, request);
  taker.attach(second.host, second.streamId);
  const first = incoming.adopt(opener);
  opener.attach(first.host, first.streamId);
  replay(first.frames, opener);
  return { done: done.promise, answered: answered.promise, reset };
}

function direction(offset: number, consumed: number, windowBytes: number): Direction {
  return { offset, consumed, limit: consumed + windowBytes, bytes: 0, final: undefined };
}

function isAcked({ final, consumed }: Direction): boolean {
  return final !== undefined && consumed > final;
}

function sent(way: Direction, frame: Frame): void {
  if (frame.type === "FIN") {
    way.final = decodeU64(frame.payload);
    return;
  }
  if (frame.payload.length === 0) throw new ConnectError("CC_STREAM_STATE", "DATA without a byte");
  way.offset += frame.payload.length;
  way.bytes += frame.payload.length;
  if (way.offset > way.limit) {
    throw new ConnectError("CC_FLOW_CONTROL", `${way.offset - way.limit} bytes came beyond the window`);
  }
}

function credit(way: Direction, payload: Uint8Array): void {
  const { consumed, windowBytes } = decodeWindow(payload);
  way.limit = Math.max(way.limit, consumed + windowBytes);
  way.consumed = Math.max(way.consumed, consumed);
}

function outOfTurn(frame: Frame): never {
  throw new ConnectError("CC_STREAM_STATE", `${frame.type} does not go with what the stream has come to`);
}
