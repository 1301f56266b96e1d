import fc from "fast-check";
import { expect, test } from "vitest";
import { createBudget } from "../src/budget.ts";
import { WindowGrowth } from "../src/window-growth.ts";

const KIB = 1_024;
const MIB = 1_048_576;
const INITIAL = 256 * KIB;
const MAX = 16 * MIB;
const RTT_MS = 50;

/** A path that carries so much at most; `slowdown` says how much longer a quarter of a window takes than it would. */
function transfer(options: {
  readonly bytesPerMs: number;
  readonly forMs: number;
  readonly slowdown?: (quarter: number) => number;
  readonly maxBytes?: number;
  readonly budgetBytes?: number;
}) {
  const { bytesPerMs, forMs, slowdown = () => 1, maxBytes = MAX, budgetBytes = MAX } = options;
  const budget = createBudget(budgetBytes);
  const growth = new WindowGrowth(INITIAL);
  const sizes: number[] = [];
  let windowBytes = INITIAL;
  let taken = 0;
  let now = 0;
  for (let quarter = 0; now < forMs; quarter += 1) {
    const bytes = windowBytes / 4;
    now += Math.max(RTT_MS / 4, bytes / bytesPerMs) * slowdown(quarter);
    taken += bytes;
    windowBytes = growth.next(taken, now, true, maxBytes, budget);
    sizes.push(windowBytes);
    expect(budget.usedBytes).toBe(windowBytes - INITIAL);
  }
  return { windowBytes, largest: Math.max(...sizes) };
}

test("a window grows to its cap within a second and a half on a long path that is fast", () => {
  expect(transfer({ bytesPerMs: 10 * MIB, forMs: 1_500 }).windowBytes).toBe(MAX);
});

test("rounds that a busy machine slows down now and then do not hold the window back", () => {
  const slowdown = (quarter: number): number => (quarter % 7 === 3 ? 5 : 1);
  expect(transfer({ bytesPerMs: 10 * MIB, forMs: 6_000, slowdown }).windowBytes).toBe(MAX);
});

test("a path that is slow for another reason gets no long queue", () => {
  const bytesPerMs = MIB / RTT_MS;
  expect(transfer({ bytesPerMs, forMs: 20_000 }).largest).toBeLessThanOrEqual(4 * MIB);
});

test("the budget pays for just what the window has grown by, whatever the largest window and the path", () => {
  fc.assert(
    fc.property(fc.integer({ min: INITIAL, max: MAX }), fc.integer({ min: 1, max: MAX }), (maxBytes, budgetBytes) => {
      const slowdown = (quarter: number): number => 1 + ((quarter * 7_919) % 10) / 5;
      transfer({ bytesPerMs: MIB, forMs: 3_000, maxBytes, budgetBytes, slowdown });
    }),
    { numRuns: 50 },
  );
});
