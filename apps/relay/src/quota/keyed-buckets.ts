import { createTokenBucket, type TokenBucket } from "./token-bucket.ts";

/** Gives each key a bucket of its own. */
export type KeyedBuckets = (key: string) => TokenBucket;

const MAX_BUCKETS = 10_000;

/**
 * Keeps the buckets of the keys that were seen last. One that is forgotten begins anew, which matters only to who has
 * more keys than are kept and uses all of them within two seconds.
 */
export function createKeyedBuckets(
  perSecond: number,
  deps: { readonly now: () => number },
  options: { readonly maxBuckets?: number } = {},
): KeyedBuckets {
  const { maxBuckets = MAX_BUCKETS } = options;
  const buckets = new Map<string, TokenBucket>();
  return (key) => {
    const bucket = buckets.get(key) ?? createTokenBucket(perSecond, deps);
    // Back to the end, so that the first one is the one that was not asked for the longest.
    buckets.delete(key);
    buckets.set(key, bucket);
    const [oldest] = buckets.keys();
    if (buckets.size > maxBuckets && oldest !== undefined) buckets.delete(oldest);
    return bucket;
  };
}
