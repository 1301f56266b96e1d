import { expect, test } from "vitest";
import { createPacer } from "../../src/quota/pacer.ts";

const deps = { now: () => 0 };

test("a key has two seconds' worth at once, each key its own, and then waits for its turn", () => {
  const pacer = createPacer(2, deps);
  const taken = [1, 2, 3, 4].map(() => pacer.take("a"));
  expect(taken).toEqual([0, 0, 0, 0]);
  expect(pacer.take("a")).toBe(500);
  expect(pacer.take("b")).toBe(0);
});

test("10,000 keys are remembered; with one more the key that was not used for the longest begins anew", () => {
  const pacer = createPacer(0.5, deps);
  for (let key = 0; key < 10_000; key += 1) expect(pacer.take(String(key))).toBe(0);
  expect(pacer.take("0")).toBe(2_000);
  expect(pacer.take("one more")).toBe(0);
  // The oldest one is 1 now, since 0 was used behind it.
  expect(pacer.take("0")).toBe(2_000);
  expect(pacer.take("1")).toBe(0);
});
