/** Values by key, of the keys that were used last. One that is forgotten begins anew. */
export interface BoundedMap<Key, Value> {
  readonly size: number;
  /** The value of a key, which now counts as used. */
  get(key: Key): Value | undefined;
  /** Keeps a value; where there are too many, the key that was not used for the longest is forgotten. */
  set(key: Key, value: Value): void;
  delete(key: Key): void;
  /** The value of a key, or the one that is made for it. */
  getOrMake(key: Key, make: () => Value): Value;
}

/** @param maxEntries at least 1. */
export function createBoundedMap<Key, Value>(maxEntries: number): BoundedMap<Key, Value> {
  // A map keeps the order in which keys came: the first one is the one that was not used for the longest.
  const entries = new Map<Key, Value>();

  function set(key: Key, value: Value): void {
    entries.delete(key);
    entries.set(key, value);
    if (entries.size <= maxEntries) return;
    for (const oldest of entries.keys()) {
      entries.delete(oldest);
      return;
    }
  }

  function get(key: Key): Value | undefined {
    const value = entries.get(key);
    if (value !== undefined) set(key, value);
    return value;
  }

  return {
    get size() {
      return entries.size;
    },
    get,
    set,
    delete: (key) => void entries.delete(key),
    getOrMake(key, make) {
      const found = get(key);
      if (found !== undefined) return found;
      const made = make();
      set(key, made);
      return made;
    },
  };
}
