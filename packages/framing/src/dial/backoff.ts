export interface BackoffOptions {
  readonly baseDelayMs?: number;
  readonly maxDelayMs?: number;
}

/** Waits between attempts that grow and are spread at random. */
export interface Backoff {
  /** The next wait, milliseconds; at least `floorMs`, which is the peer's retry-after. */
  next(floorMs?: number): number;
  /** An attempt worked: the next wait is short again. */
  reset(): void;
}

const DEFAULTS = { baseDelayMs: 500, maxDelayMs: 30_000 } as const;

/**
 * Full jitter: a random part of a bound that doubles.
 *
 * @param deps `random` gives a number from 0 to below 1.
 */
export function createBackoff(options: BackoffOptions, deps: { readonly random: () => number }): Backoff {
  const { baseDelayMs, maxDelayMs } = { ...DEFAULTS, ...options };
  let attempt = 0;
  return {
    next(floorMs = 0) {
      const bound = Math.min(maxDelayMs, baseDelayMs * 2 ** attempt);
      attempt = Math.min(attempt + 1, 30);
      const jitter = deps.random() * bound;
      // Dialers that were told the same retry-after must not come back together either.
      return floorMs > 0 ? floorMs + deps.random() * Math.max(baseDelayMs, floorMs / 4) : jitter;
    },
    reset() {
      attempt = 0;
    },
  };
}
