import type { StreamId } from "@cluster-connect/protocol";
import {
  ConnectError,
  decodeAccept,
  decodeEnd,
  decodeResumed,
  decodeU64,
  decodeWindow,
  type ErrorCode,
  MAX_WINDOW_BYTES,
  unaskedBytesOf,
} from "@cluster-connect/protocol";
import type { Frame } from "../frames/decode.ts";
import { suspends } from "../resume/lost.ts";
import { errorOf } from "../stream/end.ts";
import { type IncomingStream, replay, type StreamRequest } from "../stream/incoming.ts";
import type { StreamHost, StreamMember } from "../stream/member.ts";
import { Leg, type LegOwner } from "./leg.ts";

/** How a forwarded stream ended here; it may go on by a RESUME that takes another direction. */
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
  /** Bytes of payload that have passed so far, as {@link ForwardEnd} has them at the end. */
  readonly progress: Pick<ForwardEnd, "upBytes" | "downBytes">;
  /** Ends both legs. Text is one line without secrets. */
  reset(code: ErrorCode, text: string): void;
}

/** Where the second leg goes; a session is one. */
export interface ForwardTarget {
  /** @throws ConnectError when the session takes no more streams. */
  addMember(member: StreamMember, request: StreamRequest): { readonly host: StreamHost; readonly streamId: StreamId };
}

/** One direction as it is seen passing. */
interface ForwardDirection {
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
 * Payloads pass untouched and credit is end to end. The bytes that wait here for a turn are never more than the credit
 * that the receiving endpoint gave. A sender that goes beyond it is reset.
 *
 * @param request first frame of the second leg: the incoming one, rewritten.
 * @throws ConnectError as {@link ForwardTarget.addMember}, or `CC_CANCELLED` when the opener gave up meanwhile; the
 *   incoming stream then still waits for its answer.
 */
export function forwardStream(
  incoming: Pick<IncomingStream, "gaveUp" | "adopt">,
  target: ForwardTarget,
  request: StreamRequest,
): Forward {
  if (incoming.gaveUp) throw new ConnectError("CC_CANCELLED", "The opener gave the stream up");
  const forwarding = new Forwarding(request);
  // The second leg first: when its session takes no stream, the incoming one still waits for an answer.
  const second = target.addMember(forwarding.taker, request);
  forwarding.taker.attach(second.host, second.streamId);
  const first = incoming.adopt(forwarding.opener);
  forwarding.opener.attach(first.host, first.streamId);
  replay(first.frames, forwarding.opener);
  return forwarding;
}

/** Refusals that say: not here, not now. */
const ELSEWHERE: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["CC_PEER_LOOP", "CC_DRAINING"]);

class Forwarding implements Forward, LegOwner {
  readonly done: Promise<ForwardEnd>;
  readonly answered: Promise<void>;
  readonly opener: Leg = new Leg("opener", this);
  readonly taker: Leg = new Leg("taker", this);
  readonly #resuming: boolean;
  /** From the opener to the taker, and back. */
  readonly #up: ForwardDirection;
  readonly #down: ForwardDirection;
  readonly #settleDone: (end: ForwardEnd) => void;
  readonly #settleAnswered: PromiseWithResolvers<void>;
  #isAnswered = false;
  #over = false;

  constructor(request: StreamRequest) {
    const done = Promise.withResolvers<ForwardEnd>();
    this.done = done.promise;
    this.#settleDone = done.resolve;
    this.#settleAnswered = Promise.withResolvers<void>();
    this.answered = this.#settleAnswered.promise;
    this.answered.catch(() => {});
    if (request.kind === "open") {
      this.#resuming = false;
      this.#up = createDirection(0, 0, unaskedBytesOf(request.open));
      this.#down = createDirection(0, 0, request.open.windowBytes);
    } else {
      const { received, consumed, windowBytes } = request.resume;
      this.#resuming = true;
      this.#up = createDirection(0, 0, 0);
      this.#down = createDirection(received, consumed, windowBytes);
    }
  }

  get progress(): Pick<ForwardEnd, "upBytes" | "downBytes"> {
    return { upBytes: this.#up.bytes, downBytes: this.#down.bytes };
  }

  reset(code: ErrorCode, text: string): void {
    if (this.#over) return;
    this.opener.reset(code, text);
    this.taker.reset(code, text);
    this.#end(new ConnectError(code, text));
  }

  frame(leg: Leg, frame: Frame): void {
    const to = this.#otherThan(leg);
    switch (frame.type) {
      case "DATA":
      case "FIN":
        if (!this.#isAnswered && (leg === this.taker || this.#resuming)) outOfTurn(frame);
        sent(leg === this.opener ? this.#up : this.#down, frame);
        if (frame.type === "DATA") to.queueBytes(frame.payload);
        else to.queueFin(frame.payload);
        this.#endWhenDone();
        return;
      case "WINDOW":
        if (!this.#isAnswered) outOfTurn(frame);
        credit(leg === this.opener ? this.#down : this.#up, frame.payload);
        to.send("WINDOW", frame.payload);
        this.#endWhenDone();
        return;
      case "ACCEPT":
      case "RESUMED":
        if (leg === this.opener || this.#isAnswered) outOfTurn(frame);
        this.#answer(frame);
        to.send(frame.type, frame.payload);
        return;
      case "REJECT":
        if (leg === this.opener || this.#isAnswered) outOfTurn(frame);
        this.#refuse(to, frame.payload);
        return;
      case "RESET":
        to.send("RESET", frame.payload);
        this.#end(errorOf(decodeEnd(frame.payload)));
        return;
      case "OPEN":
      case "RESUME":
      case "HELLO":
      case "READY":
      case "PING":
      case "PONG":
      case "GOAWAY":
      case "HOPACK":
      case "RELAYS":
        outOfTurn(frame);
    }
  }

  fail(_leg: Leg, error: ConnectError): void {
    this.reset(error.code, error.message);
  }

  lost(leg: Leg, error: ConnectError): void {
    const to = this.#otherThan(leg);
    if (suspends(error.code)) to.reset("CC_CHANNEL_LOST", "The channel behind the relay is lost");
    else to.reset(error.code, error.message);
    this.#end(error);
  }

  #otherThan(leg: Leg): Leg {
    return leg === this.opener ? this.taker : this.opener;
  }

  /** Another relay or agent can serve the stream: the opener finds it by asking again. */
  #refuse(to: Leg, payload: Uint8Array): void {
    const error = errorOf(decodeEnd(payload));
    if (ELSEWHERE.has(error.code)) to.reset("CC_CHANNEL_LOST", "The way to the agent has changed");
    else to.send("REJECT", payload);
    this.#end(error);
  }

  #answer(frame: Frame): void {
    const up = this.#up;
    if (frame.type === "ACCEPT" && !this.#resuming) {
      up.limit = Math.max(up.limit, capped(decodeAccept(frame.payload).windowBytes));
    } else if (frame.type === "RESUMED" && this.#resuming) {
      const { received, consumed, windowBytes } = decodeResumed(frame.payload);
      up.offset = received;
      up.consumed = consumed;
      up.limit = consumed + capped(windowBytes);
    } else {
      outOfTurn(frame);
    }
    this.#isAnswered = true;
    this.#settleAnswered.resolve();
  }

  /** Both FINs were acknowledged. After a RESUME the acknowledgement may have been known before FIN is said again. */
  #endWhenDone(): void {
    if (isAcked(this.#up) && isAcked(this.#down)) this.#end(undefined);
  }

  #end(error: ConnectError | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.opener.release();
    this.taker.release();
    this.#settleAnswered.reject(error ?? new ConnectError("CC_STREAM_RESET", "The stream ended without an answer"));
    this.#settleDone({ error, ...this.progress });
  }
}

function createDirection(offset: number, consumed: number, windowBytes: number): ForwardDirection {
  return { offset, consumed, limit: consumed + capped(windowBytes), bytes: 0, final: undefined };
}

/** A promise of more would not be made use of. */
function capped(windowBytes: number): number {
  return Math.min(windowBytes, MAX_WINDOW_BYTES);
}

function isAcked({ final, consumed }: ForwardDirection): boolean {
  return final !== undefined && consumed > final;
}

function sent(direction: ForwardDirection, frame: Frame): void {
  if (frame.type === "FIN") {
    // Once for each channel: it needs no credit, so nothing else bounds how often it is passed on.
    if (direction.final !== undefined) outOfTurn(frame);
    direction.final = decodeU64(frame.payload);
    return;
  }
  if (frame.payload.length === 0) throw new ConnectError("CC_STREAM_STATE", "DATA without a byte");
  direction.offset += frame.payload.length;
  direction.bytes += frame.payload.length;
  if (direction.offset > direction.limit) {
    throw new ConnectError("CC_FLOW_CONTROL", `${direction.offset - direction.limit} bytes came beyond the window`);
  }
}

function credit(direction: ForwardDirection, payload: Uint8Array): void {
  const { consumed, windowBytes } = decodeWindow(payload);
  direction.limit = Math.max(direction.limit, consumed + capped(windowBytes));
  direction.consumed = Math.max(direction.consumed, consumed);
}

function outOfTurn(frame: Frame): never {
  throw new ConnectError("CC_STREAM_STATE", `${frame.type} does not go with what the stream has come to`);
}
