import type { Clock, Timer } from "@cluster-connect/base";
import type { Rate } from "./joint-rate.ts";

/** One direction of a forwarded stream, at a rate: its sender is told of credit when there is a turn for it. */
export interface PacedFlow {
  /** The sender may send up to this offset without being told by {@link credit}. */
  promise(offset: number, windowBytes: number): void;
  /** The receiver took everything below `consumed` and would take so much more. */
  credit(consumed: number, windowBytes: number): void;
  /** Bytes that pass. */
  passed(bytes: number): void;
  /** The stream is over; turns that were not used are given back. */
  end(): void;
}

/** Credit is told in parts of at least this, or of a quarter of a second. */
const MIN_STEP_BYTES = 65_536;
const STEP_SECONDS = 0.25;

/** @param tell sends the sender a WINDOW. */
export function createPacedFlow(
  tell: (consumed: number, windowBytes: number) => void,
  deps: { readonly rate: Rate; readonly clock: Clock },
): PacedFlow {
  const { rate, clock } = deps;
  const stepBytes = Math.max(MIN_STEP_BYTES, Math.floor(rate.perSecond * STEP_SECONDS));
  let told = 0;
  let consumed = 0;
  let wanted = 0;
  /** Bytes that may come without a turn, and those of turns that have not come yet. */
  let promised = 0;
  let reserved = 0;
  let timer: Timer | undefined;
  let over = false;

  /** Takes turns one after the other, so that streams which wait get theirs in between. */
  function next(): void {
    while (!over && timer === undefined && told < wanted) {
      const bytes = Math.min(wanted - told, stepBytes);
      reserved += bytes;
      const waitMs = rate.reserve(bytes);
      if (waitMs > 0) timer = clock.setTimer(waitMs, () => grant(bytes));
      else told += bytes;
    }
  }

  function grant(bytes: number): void {
    timer = undefined;
    told += bytes;
    next();
    tell(consumed, Math.max(0, told - consumed));
  }

  return {
    promise(offset, windowBytes) {
      promised += Math.max(0, Math.min(windowBytes, offset - told));
      told = Math.max(told, offset);
    },
    credit(upTo, windowBytes) {
      consumed = Math.max(consumed, upTo);
      wanted = Math.max(wanted, upTo + windowBytes);
      next();
      // The bytes taken are told at once, so that only the sender waits, never the end of the stream.
      tell(consumed, Math.max(0, told - consumed));
    },
    passed(bytes) {
      const unpaid = Math.min(promised, bytes);
      promised -= unpaid;
      reserved = Math.max(0, reserved - (bytes - unpaid));
      if (unpaid > 0) rate.passed(unpaid);
    },
    end() {
      if (over) return;
      over = true;
      timer?.cancel();
      if (reserved > 0) rate.refund(reserved);
    },
  };
}
