/** Lets so many through per second, with a burst of twice that. */
export interface TokenBucket {
  /** @returns 0 when it is let through, else how long to wait, milliseconds. */
  take(): number;
}

const BURST_SECONDS = 2;

export function createTokenBucket(perSecond: number, deps: { readonly now: () => number }): TokenBucket {
  const capacity = perSecond * BURST_SECONDS;
  let tokens = capacity;
  let at = deps.now();
  return {
    take() {
      const now = deps.now();
      // A clock that was set back takes nothing away.
      tokens = Math.min(capacity, tokens + (Math.max(0, now - at) / 1_000) * perSecond);
      at = now;
      if (tokens < 1) return Math.ceil(((1 - tokens) / perSecond) * 1_000);
      tokens -= 1;
      return 0;
    },
  };
}
