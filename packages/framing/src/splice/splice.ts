import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { type Clock, SYSTEM_CLOCK, type Timer } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import { discard } from "../bytes/discard.ts";
import { MuxStream } from "../stream/mux-stream.ts";
import { Gather } from "./gather.ts";
import { type BytesTaker, readsOf } from "./read-memory.ts";

export interface SpliceOptions {
  /** Breaks both sides off. */
  readonly signal?: AbortSignal;
  /**
   * How long one direction may pass nothing after the other has ended, milliseconds. The system does not tell when a
   * socket that half-closed is reset, so without this such a splice would stay for ever.
   */
  readonly halfClosedIdleMs?: number;
  /**
   * Said to a TCP socket whose other side broke off, before it is closed. For a protocol whose clients take a reset for
   * an end, these bytes are an error in every state.
   */
  readonly fatal?: Uint8Array | undefined;
}

/** Bytes that passed, by direction. */
export interface SpliceEnd {
  /** Bytes from the first duplex to the second, and back. */
  readonly forthBytes: number;
  readonly backBytes: number;
}

const HALF_CLOSED_IDLE_MS = 600_000;
/**
 * Time for the other side when one is gone. It takes the bytes that the gone side had sent, and ends its own, which
 * have no receiver any more.
 */
const LINGER_MS = 2_000;
const EMPTY = new Uint8Array(0);

/**
 * Joins two duplexes for one lifetime: bytes, back-pressure and half-close pass both ways.
 *
 * Sockets must have been made with `allowHalfOpen`: else they answer the end of one direction by ending the other. A
 * side that breaks off breaks the other off, as soon as that one has taken the bytes sent before. A socket is then
 * reset, not ended, so that the bytes that came through never look complete. A socket that has sent everything and
 * closes is no error. The other side's later bytes are dropped until that one ends, too.
 *
 * @returns when both directions have ended.
 * @throws the first error of either side, or the signal's reason; both sides are destroyed by then.
 */
export function splice(
  a: Duplex,
  b: Duplex,
  options: SpliceOptions = {},
  deps: { readonly clock: Clock } = { clock: SYSTEM_CLOCK },
): Promise<SpliceEnd> {
  return new Promise((resolve, reject) => {
    new Splice(a, b, { resolve, reject }, options, deps.clock).begin();
  });
}

/** Where a duplex that is spliced has its direction: listeners find it there, so that one of each serves them all. */
const DIRECTION: unique symbol = Symbol("direction");

type Spliced = Duplex & { [DIRECTION]?: SpliceDirection | undefined };

/** From one duplex to the other. */
class SpliceDirection implements BytesTaker {
  readonly from: Spliced;
  readonly to: Spliced;
  readonly splice: Splice;
  bytes = 0;
  ended = false;
  /** The receiver of the bytes is gone. */
  drops = false;
  readonly #gather: Gather | undefined;

  constructor(from: Duplex, to: Duplex, splice: Splice) {
    this.from = from;
    this.to = to;
    this.splice = splice;
    this.#gather = to instanceof Socket ? new Gather(to) : undefined;
  }

  begin(): void {
    const { from } = this;
    from[DIRECTION] = this;
    from.on("drain", onDrain).on("end", onEnd).on("close", onClose);
    // The error that breaks a stream off is known when it closes, too.
    if (from instanceof MuxStream) from.lend();
    else from.on("error", onError);
    if (from.destroyed) this.closed();
    // A socket that is paused tells its end nevertheless, before a listener is here.
    else if (from.readableEnded) this.end();
    const reads = readsOf(from);
    if (reads === undefined) from.on("data", onData);
    else reads.begin(this);
  }

  stop(): void {
    const { from } = this;
    this.drops = true;
    from[DIRECTION] = undefined;
    from.off("data", onData).off("drain", onDrain).off("end", onEnd).off("close", onClose).off("error", onError);
  }

  take(bytes: Uint8Array): boolean {
    const { from, to } = this;
    if (this.drops) return true;
    this.bytes += bytes.length;
    if (!(to instanceof MuxStream)) return to.write(Buffer.from(bytes));
    if (to.put(bytes)) return true;
    to.whenRoom(() => from.resume());
    return false;
  }

  get holdRoom(): number {
    return this.to instanceof MuxStream ? this.to.endpoint.holdRoom : 0;
  }

  pass(chunk: Buffer): void {
    const { from, to } = this;
    if (to instanceof MuxStream) {
      if (!this.take(chunk)) from.pause();
      // It was copied.
      if (from instanceof MuxStream) from.giveBack(chunk.length);
      else if (from instanceof Socket) discard(chunk);
      return;
    }
    if (this.drops) {
      if (from instanceof MuxStream) from.giveBack(chunk.length);
      return;
    }
    this.bytes += chunk.length;
    this.#gather?.before(chunk);
    // `write` also answers false for a large chunk that has left already.
    if (to.write(chunk, freed(from, chunk)) || to.writableLength === 0) return;
    this.#gather?.release();
    if (to.writableLength > 0) from.pause();
  }

  end(): void {
    if (this.drops) {
      this.ended = true;
      this.splice.directionEnded();
      return;
    }
    this.to.end(() => {
      this.ended = true;
      this.splice.directionEnded();
    });
  }

  closed(): void {
    const { from } = this;
    if (this.#saidEverything) {
      if (!from.writableFinished) this.splice.gone(this);
    } else if (from.errored !== null) {
      this.splice.broken(this, from.errored);
    } else if (!from.readableEnded || !from.writableFinished) {
      this.splice.broken(this, new ConnectError("CC_STREAM_RESET", "The side behind the stream broke off"));
    }
  }

  failed(error: unknown): void {
    // A write to a socket that has said everything and closed: its close follows.
    if (!this.#saidEverything) this.splice.broken(this, error);
  }

  /** A stream that was reset has more to say than its end: the code. */
  get #saidEverything(): boolean {
    return this.from.readableEnded && !(this.from instanceof MuxStream);
  }
}

function onData(this: Spliced, chunk: Buffer): void {
  this[DIRECTION]?.pass(chunk);
}

/** There is room again in the duplex that the other direction writes to. */
function onDrain(this: Spliced): void {
  this[DIRECTION]?.to.resume();
}

function onEnd(this: Spliced): void {
  this[DIRECTION]?.end();
}

function onClose(this: Spliced): void {
  this[DIRECTION]?.closed();
}

function onError(this: Spliced, error: unknown): void {
  this[DIRECTION]?.failed(error);
}

/** How the promise of a splice is settled. */
interface Outcome {
  readonly resolve: (end: SpliceEnd) => void;
  readonly reject: (error: unknown) => void;
}

/** A class, not closures: a process has one for each stream, and most are idle. */
class Splice {
  readonly #forth: SpliceDirection;
  readonly #back: SpliceDirection;
  readonly #outcome: Outcome;
  readonly #options: SpliceOptions;
  readonly #clock: Clock;
  #onAbort: (() => void) | undefined;
  #idleTimer: Timer | undefined;
  #lingerTimer: Timer | undefined;
  /** The direction whose sender is gone, having said everything. */
  #gone: SpliceDirection | undefined;
  #isBroken = false;
  #settled = false;

  constructor(a: Duplex, b: Duplex, outcome: Outcome, options: SpliceOptions, clock: Clock) {
    this.#forth = new SpliceDirection(a, b, this);
    this.#back = new SpliceDirection(b, a, this);
    this.#outcome = outcome;
    this.#options = options;
    this.#clock = clock;
  }

  begin(): void {
    const { signal } = this.#options;
    if (signal?.aborted === true) {
      this.settle(signal.reason);
      return;
    }
    if (signal !== undefined) {
      this.#onAbort = () => this.settle(signal.reason);
      signal.addEventListener("abort", this.#onAbort, { once: true });
    }
    this.#forth.begin();
    if (!this.#settled) this.#back.begin();
  }

  directionEnded(): void {
    if (this.#settled) return;
    if (this.#gone?.ended === true) this.#linger(sideClosed());
    if (this.#forth.ended && this.#back.ended && !this.#isBroken) this.settle(undefined);
    else this.#watchIdle(this.#bytes);
  }

  /**
   * This side has said everything and takes nothing more. The other one first takes what was said, however long that
   * is; then it may end what it says.
   */
  gone(direction: SpliceDirection): void {
    if (this.#settled || this.#isBroken) return;
    this.#dropFrom(direction.to);
    this.#gone = direction;
    if (direction.ended) this.#linger(sideClosed());
    else if (this.#idleTimer === undefined) this.#watchIdle(this.#bytes);
  }

  /** This side broke off: the other one first takes what was said before. */
  broken(direction: SpliceDirection, error: unknown): void {
    if (this.#settled) return;
    if (this.#isBroken) {
      this.settle(error);
      return;
    }
    this.#isBroken = true;
    direction.stop();
    this.#dropFrom(direction.to);
    this.#linger(error);
    whenTaken(direction.to, () => this.settle(error));
  }

  #dropFrom(side: Duplex): void {
    (this.#forth.from === side ? this.#forth : this.#back).drops = true;
    side.resume();
  }

  #linger(error: unknown): void {
    this.#lingerTimer ??= this.#clock.setTimer(LINGER_MS, () => this.settle(error));
  }

  /** @param error undefined when both directions have ended. */
  settle(error: unknown): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#idleTimer?.cancel();
    this.#lingerTimer?.cancel();
    if (this.#onAbort !== undefined) this.#options.signal?.removeEventListener("abort", this.#onAbort);
    this.#forth.stop();
    this.#back.stop();
    if (error === undefined) {
      this.#outcome.resolve({ forthBytes: this.#forth.bytes, backBytes: this.#back.bytes });
      return;
    }
    for (const { from } of [this.#forth, this.#back]) this.#breakOff(from, error);
    this.#outcome.reject(error);
  }

  #breakOff(side: Duplex, error: unknown): void {
    const { fatal } = this.#options;
    // Later errors of the side have no listener.
    side.on("error", ignore);
    if (side.destroyed) return;
    if (!isTcp(side)) side.destroy(error instanceof Error ? error : undefined);
    else if (fatal === undefined || !side.writable) side.resetAndDestroy();
    else {
      const timer = this.#clock.setTimer(LINGER_MS, () => side.resetAndDestroy());
      side.once("close", () => timer.cancel());
      side.resume().end(fatal, () => side.destroy());
    }
  }

  get #bytes(): number {
    return this.#forth.bytes + this.#back.bytes;
  }

  #watchIdle(passed: number): void {
    this.#idleTimer?.cancel();
    this.#idleTimer = this.#clock.setTimer(this.#options.halfClosedIdleMs ?? HALF_CLOSED_IDLE_MS, () => {
      if (this.#bytes > passed) this.#watchIdle(this.#bytes);
      else this.settle(new ConnectError("CC_TIMEOUT", "Nothing passed since one side had half-closed"));
    });
  }
}

function sideClosed(): ConnectError {
  return new ConnectError("CC_STREAM_RESET", "The side behind the stream has closed");
}

/** The callback that frees a chunk's memory when the chunk was written. */
function freed(from: Duplex, chunk: Buffer): ((error?: Error | null) => void) | undefined {
  if (!(from instanceof MuxStream || from instanceof Socket)) return undefined;
  return (error) => {
    if (error) return;
    if (from instanceof MuxStream) from.giveBack(chunk.length);
    else discard(chunk);
  };
}

/** Calls back when a side has taken everything that was written to it, or is gone itself. */
function whenTaken(side: Duplex, done: () => void): void {
  if (side instanceof MuxStream) side.whenTaken(done);
  else if (side.destroyed || side.writableLength === 0) done();
  else if (side.writableEnded) side.once("finish", done);
  else side.write(EMPTY, done);
}

/** Only TCP can be reset: on a unix socket Node throws instead. */
function isTcp(side: Duplex): side is Socket {
  return side instanceof Socket && !("encrypted" in side) && side.remoteFamily !== undefined;
}

function ignore(): void {}
