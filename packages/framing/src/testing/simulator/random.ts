/** Randomness that a seed repeats. */
export interface SeededRandom {
  /** From 0 to below 1. */
  next(): number;
  /** A whole number between two bounds, both included. */
  integer(min: number, max: number): number;
  chance(probability: number): boolean;
  pick<T>(items: readonly T[]): T;
  bytes(length: number): Buffer;
}

/** mulberry32: small, fast, and good enough to choose faults. */
export function createSeededRandom(seed: number): SeededRandom {
  let state = seed >>> 0;
  function next(): number {
    state = (state + 0x6d2b_79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  }
  const integer = (min: number, max: number): number => min + Math.floor(next() * (max - min + 1));
  return {
    next,
    integer,
    chance: (probability) => next() < probability,
    pick(items) {
      const item = items[integer(0, items.length - 1)];
      if (item === undefined) throw new RangeError("nothing to pick from");
      return item;
    },
    bytes(length) {
      const bytes = Buffer.alloc(length);
      let value = integer(0, 0xffff_ffff);
      for (let index = 0; index < length; index += 1) {
        value = (Math.imul(value, 1_664_525) + 1_013_904_223) >>> 0;
        bytes[index] = value >>> 24;
      }
      return bytes;
    },
  };
}
