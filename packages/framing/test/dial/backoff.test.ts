import fc from "fast-check";
import { expect, test } from "vitest";
import { createBackoff } from "../../src/index.ts";

test("waits are a random part of a bound that doubles to its limit", () => {
  const backoff = createBackoff({ baseDelayMs: 100, maxDelayMs: 1_000 }, { random: () => 0.5 });
  expect(Array.from({ length: 6 }, () => backoff.next())).toEqual([50, 100, 200, 400, 500, 500]);
  backoff.reset();
  expect(backoff.next()).toBe(50);
});

test("a peer's wish is a floor, and those who heard the same wish do not come back together", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 100_000 }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (floorMs, part) => {
        const delayMs = createBackoff({}, { random: () => part }).next(floorMs);
        expect(delayMs).toBeGreaterThanOrEqual(floorMs);
        expect(delayMs).toBeLessThanOrEqual(floorMs + Math.max(500, floorMs / 4));
      },
    ),
  );
});

test("the bound stays finite however many attempts fail", () => {
  const backoff = createBackoff({}, { random: () => 1 });
  for (let attempt = 0; attempt < 5_000; attempt += 1) expect(backoff.next()).toBeLessThanOrEqual(30_000);
});
