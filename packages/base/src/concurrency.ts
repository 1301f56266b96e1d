/** Gives back what was taken; the second time does nothing. */
export type Release = () => void;

/** Counts what is in use by key, up to a limit each. */
export interface ConcurrencyLimiter {
  /** Takes one place. @throws what `refuse` makes when the key has its limit in use. */
  take(key: string): Release;
  /** How many places of the key are in use. */
  of(key: string): number;
  /** How many keys have places in use; no other key is remembered. */
  readonly keys: number;
}

/** @param refuse makes the error for a key whose places are all in use. */
export function createConcurrencyLimiter(limit: number, refuse: (limit: number) => Error): ConcurrencyLimiter {
  const counts = new Map<string, number>();
  return {
    of: (key) => counts.get(key) ?? 0,
    get keys() {
      return counts.size;
    },
    take(key) {
      const count = counts.get(key) ?? 0;
      if (count >= limit) throw refuse(limit);
      counts.set(key, count + 1);
      let released = false;
      return () => {
        if (released) return;
        released = true;
        const left = (counts.get(key) ?? 1) - 1;
        if (left === 0) counts.delete(key);
        else counts.set(key, left);
      };
    },
  };
}

/** Takes from each in order; when one refuses, what was taken before is given back. */
export function takeAll(takes: readonly (() => Release)[]): Release {
  const taken: Release[] = [];
  try {
    for (const take of takes) taken.push(take());
  } catch (error) {
    for (const release of taken) release();
    throw error;
  }
  return () => {
    for (const release of taken) release();
  };
}
