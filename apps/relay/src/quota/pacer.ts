import { createBoundedMap, createTokenBucket, type TokenBucket } from "@cluster-connect/base";

/** Lets so many through per second for each key. */
export interface Pacer {
  /** @returns 0 when the key is let through, else how long it is to wait, milliseconds. */
  take(key: string): number;
}

const MAX_KEYS = 10_000;

/**
 * Keeps the buckets of the keys that were seen last. A forgotten key begins anew, which helps only a caller with more
 * keys than are kept, who uses all of them within two seconds.
 */
export function createPacer(
  perSecond: number,
  deps: { readonly now: () => number },
  options: { readonly maxKeys?: number } = {},
): Pacer {
  const buckets = createBoundedMap<string, TokenBucket>(options.maxKeys ?? MAX_KEYS);
  return { take: (key) => buckets.getOrMake(key, () => createTokenBucket(perSecond, {}, deps)).take() };
}
