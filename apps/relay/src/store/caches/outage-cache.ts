/** Answers of the store that are good for a moment, and for longer while it does not answer. */
export interface OutageCache<Key, Value> {
  /** @throws the store's own error, for a key that was not asked for within the outage time. */
  get(key: Key): Promise<Value | undefined>;
}

export interface OutageCacheOptions {
  /** How long an answer is as good as a new one; 0 asks each time. */
  readonly freshMs: number;
  /** How long an answer counts while the store does not answer. */
  readonly outageMs: number;
}

const MAX_ENTRIES = 50_000;

/** @param load asks the store; undefined, for a key that is not there, is not remembered. */
export function createOutageCache<Key, Value>(
  load: (key: Key) => Promise<Value | undefined>,
  options: OutageCacheOptions,
  deps: { readonly away: () => boolean; readonly now: () => number },
): OutageCache<Key, Value> {
  const { freshMs, outageMs } = options;
  const entries = new Map<Key, { readonly value: Value; readonly at: number }>();
  const recall = (key: Key, withinMs: number): Value | undefined => {
    const found = entries.get(key);
    return found !== undefined && deps.now() - found.at < withinMs ? found.value : undefined;
  };
  return {
    async get(key) {
      const remembered = recall(key, deps.away() ? outageMs : freshMs);
      if (remembered !== undefined) return remembered;
      try {
        const value = await load(key);
        entries.delete(key);
        if (value === undefined) return undefined;
        if (entries.size >= MAX_ENTRIES) entries.clear();
        entries.set(key, { value, at: deps.now() });
        return value;
      } catch (error) {
        const former = recall(key, outageMs);
        if (former === undefined) throw error;
        return former;
      }
    },
  };
}
