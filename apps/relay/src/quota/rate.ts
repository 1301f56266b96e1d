/** Counts bytes against a rate. Nothing is refused: who is beyond waits for the turn that it gets. */
export interface Rate {
  readonly bytesPerSecond: number;
  /** Takes a turn for so many bytes. @returns how long until they may pass, milliseconds; 0 for now. */
  reserve(bytes: number): number;
  /** Bytes of a turn that do not pass after all. */
  refund(bytes: number): void;
  /** Bytes that have passed without a turn. */
  passed(bytes: number): void;
  /** How long who comes now would wait, milliseconds. */
  waitMs(): number;
}

/** What may pass at once after a pause. */
const BURST_SECONDS = 1;
/** What passed without a turn is made up for by a pause, but by no longer one. */
const MAX_DEBT_SECONDS = 10;

export function createRate(bytesPerSecond: number, deps: { readonly now: () => number }): Rate {
  const capacity = bytesPerSecond * BURST_SECONDS;
  let left = capacity;
  let at = deps.now();
  const waitMs = (): number => {
    const now = deps.now();
    // A clock that was set back takes nothing away.
    left = Math.min(capacity, left + (Math.max(0, now - at) / 1_000) * bytesPerSecond);
    at = now;
    return left >= 0 ? 0 : Math.ceil((-left / bytesPerSecond) * 1_000);
  };
  return {
    bytesPerSecond,
    reserve(bytes) {
      const wait = waitMs();
      left -= bytes;
      return wait;
    },
    refund(bytes) {
      left = Math.min(capacity, left + bytes);
    },
    passed(bytes) {
      waitMs();
      left = Math.min(left, Math.max(left - bytes, -MAX_DEBT_SECONDS * bytesPerSecond));
    },
    waitMs,
  };
}

/** The rates that count together for one stream. */
export function jointRate(rates: readonly Rate[]): Rate {
  return {
    bytesPerSecond: Math.min(...rates.map((rate) => rate.bytesPerSecond)),
    reserve: (bytes) => Math.max(...rates.map((rate) => rate.reserve(bytes))),
    refund(bytes) {
      for (const rate of rates) rate.refund(bytes);
    },
    passed(bytes) {
      for (const rate of rates) rate.passed(bytes);
    },
    waitMs: () => Math.max(...rates.map((rate) => rate.waitMs())),
  };
}
