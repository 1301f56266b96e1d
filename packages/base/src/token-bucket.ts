/** Lets so many units through per second: requests, streams or bytes. */
export interface TokenBucket {
  readonly perSecond: number;
  /** Takes one unit where there is one. @returns 0 when it was taken, else how long to wait, milliseconds. */
  take(): number;
  /** Takes units that may not be there yet. @returns how long until they may pass, milliseconds; 0 for now. */
  reserve(units: number): number;
  /** Gives back units of a turn that do not pass after all. */
  refund(units: number): void;
  /** Counts units that have passed without a turn; what is owed for them never takes longer than the debt's limit. */
  passed(units: number): void;
  /** How long a newcomer would wait, milliseconds. */
  waitMs(): number;
}

export interface TokenBucketOptions {
  /** Units that may pass at once after a pause, in seconds of the rate. */
  readonly burstSeconds?: number;
  /** Units that passed without a turn are made up for by a pause, but by no longer one. */
  readonly maxDebtSeconds?: number;
}

const DEFAULTS = { burstSeconds: 2, maxDebtSeconds: 10 } as const;

export function createTokenBucket(
  perSecond: number,
  options: TokenBucketOptions,
  deps: { readonly now: () => number },
): TokenBucket {
  const { burstSeconds, maxDebtSeconds } = { ...DEFAULTS, ...options };
  const capacity = perSecond * burstSeconds;
  let left = capacity;
  let at = deps.now();

  function refill(): void {
    const now = deps.now();
    // A clock that was set back takes nothing away.
    left = Math.min(capacity, left + (Math.max(0, now - at) / 1_000) * perSecond);
    at = now;
  }

  /** @param wanted units that must be there. */
  function untilThere(wanted: number): number {
    refill();
    return left >= wanted ? 0 : Math.ceil(((wanted - left) / perSecond) * 1_000);
  }

  return {
    perSecond,
    take() {
      const waitMs = untilThere(1);
      if (waitMs === 0) left -= 1;
      return waitMs;
    },
    reserve(units) {
      const waitMs = untilThere(0);
      left -= units;
      return waitMs;
    },
    refund(units) {
      left = Math.min(capacity, left + units);
    },
    passed(units) {
      refill();
      left = Math.min(left, Math.max(left - units, -maxDebtSeconds * perSecond));
    },
    waitMs: () => untilThere(0),
  };
}
