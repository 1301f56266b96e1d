import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createBoundedMap, createConcurrencyLimiter, createTokenBucket, takeAll } from "../src/index.ts";

describe("a bounded map", () => {
  test("forgets the key that was not used for the longest, and only beyond its bound", () => {
    const map = createBoundedMap<string, number>(2);
    map.set("a", 1);
    map.set("b", 2);
    expect([map.size, map.get("a"), map.get("b")]).toEqual([2, 1, 2]);
    map.get("a");
    map.set("c", 3);
    expect([map.size, map.get("a"), map.get("b"), map.get("c")]).toEqual([2, 1, undefined, 3]);
    map.delete("a");
    expect(map.size).toBe(1);
  });

  test("makes a value once, for as long as its key is kept", () => {
    const map = createBoundedMap<string, object>(1);
    const made = map.getOrMake("a", () => ({}));
    expect(map.getOrMake("a", () => ({}))).toBe(made);
    map.getOrMake("b", () => ({}));
    expect(map.getOrMake("a", () => ({}))).not.toBe(made);
  });

  test("never holds more than its bound, and always the key that came last", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5 }), fc.array(fc.integer({ min: 0, max: 9 })), (bound, keys) => {
        const map = createBoundedMap<number, number>(bound);
        for (const key of keys) {
          expect(map.getOrMake(key, () => key)).toBe(key);
          expect(map.size).toBeLessThanOrEqual(bound);
          expect(map.get(key)).toBe(key);
        }
      }),
    );
  });
});

describe("a concurrency limiter", () => {
  const make = () => createConcurrencyLimiter(2, (limit) => new Error(`at most ${limit}`));

  test("refuses the one after the last, each key by itself, and forgets keys without use", () => {
    const limiter = make();
    const release = limiter.take("a");
    limiter.take("a");
    expect(() => limiter.take("a")).toThrow("at most 2");
    limiter.take("b");
    release();
    release();
    expect(limiter.of("a")).toBe(1);
    limiter.take("a")();
    expect([limiter.of("a"), limiter.of("b"), limiter.keys]).toEqual([1, 1, 2]);
    const last = limiter.take("c");
    expect(limiter.keys).toBe(3);
    last();
    expect(limiter.keys).toBe(2);
  });

  test("what was taken before a refusal is given back", () => {
    const [one, two] = [make(), make()];
    two.take("x");
    two.take("x");
    expect(() => takeAll([() => one.take("x"), () => two.take("x")])).toThrow("at most 2");
    expect(one.of("x")).toBe(0);
    const release = takeAll([() => one.take("x"), () => one.take("x")]);
    expect(one.of("x")).toBe(2);
    release();
    expect(one.of("x")).toBe(0);
  });
});

describe("a token bucket", () => {
  const stage = (perSecond: number, options = {}) => {
    const time = { now: 0 };
    return { time, bucket: createTokenBucket(perSecond, options, { now: () => time.now }) };
  };

  test("lets its burst through, then says how long the next one waits", () => {
    const { time, bucket } = stage(10);
    for (let n = 0; n < 20; n += 1) expect(bucket.take()).toBe(0);
    expect(bucket.take()).toBe(100);
    time.now += 50;
    expect(bucket.take()).toBe(50);
    time.now += 50;
    expect(bucket.take()).toBe(0);
    expect(bucket.take()).toBe(100);
  });

  test("owes no more for what passed than its longest debt", () => {
    const { bucket } = stage(100, { burstSeconds: 1, maxDebtSeconds: 3 });
    bucket.passed(100 + 299);
    expect(bucket.waitMs()).toBe(2_990);
    bucket.passed(1_000);
    expect(bucket.waitMs()).toBe(3_000);
  });

  test("a clock that was set back takes nothing away", () => {
    const { time, bucket } = stage(10);
    expect(bucket.reserve(20)).toBe(0);
    time.now -= 60_000;
    expect(bucket.waitMs()).toBe(0);
    bucket.reserve(1);
    expect(bucket.waitMs()).toBe(100);
    bucket.refund(1);
    expect(bucket.waitMs()).toBe(0);
  });
});
