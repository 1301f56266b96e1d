import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { ConnectError } from "@cluster-connect/protocol";
import { type Clock, SYSTEM_CLOCK, type Timer } from "./clock.ts";
import { discard } from "./discard.ts";
import { MuxStream } from "./stream.ts";

export interface SpliceOptions {
  /** Breaks both sides off. */
  readonly signal?: AbortSignal;
  /**
   * How long one direction may pass nothing after the other has ended, milliseconds. The system does not tell when a
   * socket that half-closed is reset, so without this such a splice would stay for ever.
   */
  readonly halfClosedIdleMs?: number;
}

/** What passed. */
export interface SpliceEnd {
  /** Bytes from the first duplex to the second, and back. */
  readonly forthBytes: number;
  readonly backBytes: number;
}

const HALF_CLOSED_IDLE_MS = 600_000;

interface Direction {
  bytes: number;
  ended: boolean;
}

/**
 * Joins two duplexes for one lifetime: bytes, back-pressure and half-close pass both ways.
 *
 * Sockets must have been made with `allowHalfOpen`: else they answer the end of one direction by ending the other.
 * A side that breaks off breaks the other off: a socket is then reset, not ended, so that what came through never
 * looks complete.
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
  const { signal, halfClosedIdleMs = HALF_CLOSED_IDLE_MS } = options;
  const forth: Direction = { bytes: 0, ended: false };
  const back: Direction = { bytes: 0, ended: false };
  const { promise, resolve, reject } = Promise.withResolvers<SpliceEnd>();
  let undo: Array<() => void> = [];
  let idleTimer: Timer | undefined;
  let settled = false;

  function settle(error: unknown): void {
    if (settled) return;
    settled = true;
    idleTimer?.cancel();
    for (const remove of undo) remove();
    undo = [];
    if (error === undefined) {
      resolve({ forthBytes: forth.bytes, backBytes: back.bytes });
      return;
    }
    breakOff(a, error);
    breakOff(b, error);
    reject(error);
  }

  function ended(): void {
    if (settled) return;
    if (forth.ended && back.ended) settle(undefined);
    else watchIdle(forth.bytes + back.bytes);
  }

  function watchIdle(passed: number): void {
    idleTimer = deps.clock.setTimer(halfClosedIdleMs, () => {
      if (forth.bytes + back.bytes > passed) watchIdle(forth.bytes + back.bytes);
      else settle(new ConnectError("CC_TIMEOUT", "Nothing passed since one side had half-closed"));
    });
  }

  const onAbort = (): void => settle(signal?.reason);
  if (signal?.aborted === true) {
    settle(signal.reason);
    return promise;
  }
  signal?.addEventListener("abort", onAbort, { once: true });
  undo.push(() => signal?.removeEventListener("abort", onAbort));
  undo.push(join(a, b, forth, ended, settle), join(b, a, back, ended, settle));
  return promise;
}

/** One direction; returns how to stop listening. */
function join(
  from: Duplex,
  to: Duplex,
  direction: Direction,
  ended: () => void,
  failed: (error: unknown) => void,
): () => void {
  if (from instanceof MuxStream) from.lend();
  const gather = to instanceof Socket ? new Gather(to) : undefined;
  const onData = (chunk: Buffer): void => {
    direction.bytes += chunk.length;
    gather?.before(chunk);
    // `write` also answers false for a large chunk that has left already.
    if (to.write(chunk, freed(from, chunk)) || to.writableLength === 0) return;
    gather?.release();
    if (to.writableLength > 0) from.pause();
  };
  const onDrain = (): void => {
    from.resume();
  };
  const onEnd = (): void => {
    to.end(() => {
      direction.ended = true;
      ended();
    });
  };
  const onClose = (): void => {
    if (from.errored !== null) failed(from.errored);
    else if (!from.readableEnded || !from.writableFinished) {
      failed(new ConnectError("CC_STREAM_RESET", "The side behind the stream broke off"));
    }
  };
  from.on("data", onData).once("end", onEnd).once("close", onClose).once("error", failed);
  to.on("drain", onDrain);
  if (from.destroyed) onClose();
  return () => {
    from.off("data", onData).off("end", onEnd).off("close", onClose).off("error", failed);
    to.off("drain", onDrain);
  };
}

/** What is to be done with a chunk's memory when it was written. */
function freed(from: Duplex, chunk: Buffer): ((error?: Error | null) => void) | undefined {
  if (!(from instanceof MuxStream || from instanceof Socket)) return undefined;
  return (error) => {
    if (error) return;
    if (from instanceof MuxStream) from.giveBack(chunk.length);
    else discard(chunk);
  };
}

/** Chunks from this size on are bulk, whose next part is likely to come within this turn of the event loop. */
const BULK_BYTES = 4_096;

/** Gathers the bulk of one turn of the event loop into one write to a socket; what is small leaves at once. */
class Gather {
  readonly #socket: Socket;
  #gathering = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  before(chunk: Uint8Array): void {
    if (this.#gathering || chunk.length < BULK_BYTES) return;
    this.#gathering = true;
    this.#socket.cork();
    setImmediate(releaseGathered, this);
  }

  /** Lets go of what was gathered. */
  release(): void {
    if (!this.#gathering) return;
    this.#gathering = false;
    this.#socket.uncork();
  }
}

function releaseGathered(gather: Gather): void {
  gather.release();
}

function breakOff(side: Duplex, error: unknown): void {
  // Whatever it still says has nobody to hear it.
  side.on("error", () => {});
  if (side.destroyed) return;
  // Only TCP can be reset: on a unix socket Node throws instead.
  const isTcp = side instanceof Socket && !("encrypted" in side) && side.remoteFamily !== undefined;
  if (isTcp) side.resetAndDestroy();
  else side.destroy(error instanceof Error ? error : undefined);
}
