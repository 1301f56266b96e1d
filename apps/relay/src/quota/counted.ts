import { ConnectError } from "@cluster-connect/protocol";

/** Gives back what was taken; the second time does nothing. */
export type Release = () => void;

/** Counts what is in use by key, up to a limit each. */
export interface Counted {
  /** @throws ConnectError `CC_LIMIT_REACHED` when the key has its limit in use. */
  take(key: string): Release;
  of(key: string): number;
}

const RETRY_AFTER_MS = 1_000;

/** @param what for the message, such as `sessions of one caller`. */
export function createCounted(limit: number, what: string): Counted {
  const counts = new Map<string, number>();
  return {
    of: (key) => counts.get(key) ?? 0,
    take(key) {
      const count = counts.get(key) ?? 0;
      if (count >= limit) {
        throw new ConnectError("CC_LIMIT_REACHED", `At most ${limit} ${what}`, { retryAfterMs: RETRY_AFTER_MS });
      }
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
