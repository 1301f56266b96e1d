import fc from "fast-check";
import { expect, test } from "vitest";
import { createBudget } from "../../src/bytes/budget.ts";
import { WindowGrowth } from "../../src/stream/window-growth.ts";

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

/** A window that is driven round by round; a rate is in bytes per millisecond. */
function growing(options: { readonly maxBytes?: number; readonly budgetBytes?: number; readonly from?: number } = {}) {
  const { from = 0 } = options;
  const limits = { maxBytes: options.maxBytes ?? MAX };
  const budget = createBudget(options.budgetBytes ?? MAX);
  const growth = new WindowGrowth(INITIAL);
  const at = { taken: from, now: 0, windowBytes: INITIAL };
  const take = (bytes: number, rate: number, keepsUp = true): number => {
    at.taken += bytes;
    at.now += bytes / rate;
    at.windowBytes = growth.next(at.taken, at.now, keepsUp, limits.maxBytes, budget);
    return at.windowBytes;
  };
  /** So many rounds of a whole window. */
  const rounds = (count: number, rate: number, keepsUp = true): number => {
    for (let n = 0; n < count; n += 1) take(at.windowBytes, rate, keepsUp);
    return at.windowBytes;
  };
  /** The round after a doubling, in which bytes still come at the pace of the window before. */
  const settle = (rate = 100): number => take(at.windowBytes / 2, rate);
  /** Rounds until the window is another one. */
  const untilChanged = (rate: number): number => {
    const before = at.windowBytes;
    for (let n = 1; n <= 1_000; n += 1) if (rounds(1, rate) !== before) return n;
    throw new Error("the window stays as it is");
  };
  take(0, 1);
  return { at, limits, budget, take, rounds, settle, untilChanged };
}

test.each([0, 5_000])("a round has a window's bytes from where it began, at %i, and not one less", (from) => {
  const { take, settle } = growing({ from });
  expect(take(INITIAL - 1, 100)).toBe(INITIAL);
  expect(take(1, 100)).toBe(2 * INITIAL);
  expect(settle()).toBe(2 * INITIAL);
  expect(take(2 * INITIAL - 1, 200)).toBe(2 * INITIAL);
  expect(take(1, 200)).toBe(4 * INITIAL);
});

test("the round after a doubling has the bytes of the window before, and its rate is not compared", () => {
  const early = growing();
  early.rounds(1, 100);
  early.take(INITIAL - 1, 100);
  expect(early.take(2 * INITIAL, 1_000)).toBe(2 * INITIAL);
  const { rounds, settle } = growing();
  rounds(1, 100);
  settle(10_000);
  expect(rounds(3, 100)).toBe(INITIAL);
});

test("a doubling that makes the stream a quarter faster is followed by the next", () => {
  const { rounds, settle, budget } = growing();
  rounds(1, 128);
  settle();
  expect(rounds(1, 160)).toBe(4 * INITIAL);
  settle();
  expect(rounds(1, 200)).toBe(8 * INITIAL);
  expect(budget.usedBytes).toBe(7 * INITIAL);
});

test("a doubling that helps by less has three rounds to help more, then it is taken back with what it cost", () => {
  const { rounds, settle, budget } = growing();
  rounds(1, 128);
  settle();
  expect(rounds(2, 159)).toBe(2 * INITIAL);
  expect(budget.usedBytes).toBe(INITIAL);
  expect(rounds(1, 159)).toBe(INITIAL);
  expect(budget.usedBytes).toBe(0);
});

test("the third round of a doubling counts as much as the first", () => {
  const { rounds, settle } = growing();
  rounds(1, 128);
  settle();
  rounds(2, 1);
  expect(rounds(1, 161)).toBe(4 * INITIAL);
  settle(161);
  expect(rounds(3, 161)).toBe(2 * INITIAL);
});

test("a doubling is compared with the best round before it, not with the last", () => {
  const { rounds, settle } = growing();
  expect(rounds(1, 1_000, false)).toBe(INITIAL);
  expect(rounds(1, 100)).toBe(2 * INITIAL);
  settle();
  expect(rounds(3, 1_249)).toBe(INITIAL);
});

test("a window whose consumer does not keep up neither grows nor keeps a doubling", () => {
  const { rounds, settle } = growing();
  expect(rounds(20, 100, false)).toBe(INITIAL);
  expect(rounds(1, 100)).toBe(2 * INITIAL);
  settle();
  expect(rounds(2, 1_000, false)).toBe(2 * INITIAL);
  expect(rounds(1, 1_000, false)).toBe(INITIAL);
});

test("after doublings that do not help it waits 8 rounds, then twice as many each time, 256 at most", () => {
  const { rounds, settle, untilChanged } = growing();
  const waited: number[] = [];
  rounds(1, 100);
  for (let n = 0; n < 8; n += 1) {
    settle();
    expect(rounds(3, 100)).toBe(INITIAL);
    // The round after the wait is the one that is compared with.
    waited.push(untilChanged(100) - 1);
  }
  expect(waited).toEqual([8, 16, 32, 64, 128, 256, 256, 256]);
});

test("after a doubling that helped it waits no longer than the first time", () => {
  const { rounds, settle, untilChanged } = growing();
  rounds(1, 100);
  settle();
  rounds(3, 100);
  untilChanged(100);
  settle();
  expect(rounds(1, 200)).toBe(4 * INITIAL);
  settle();
  expect(rounds(3, 200)).toBe(2 * INITIAL);
  expect(untilChanged(200)).toBe(9);
});

test("rounds while it waits count as rates of the window, those of the doubling that was taken back do not", () => {
  const slower = growing();
  slower.rounds(1, 100);
  slower.settle();
  slower.rounds(3, 120);
  slower.untilChanged(10);
  slower.settle();
  expect(slower.rounds(1, 12.6)).toBe(4 * INITIAL);
  const faster = growing();
  faster.rounds(1, 100);
  faster.settle();
  faster.rounds(3, 100);
  faster.rounds(1, 1_000);
  faster.untilChanged(100);
  faster.settle();
  expect(faster.rounds(3, 1_249)).toBe(INITIAL);
});

test("the last doubling ends at the cap, whatever that is, and one that is lifted is noticed after the wait", () => {
  const cap = 3 * INITIAL + 1;
  const { limits, rounds, settle, take, budget, untilChanged, at } = growing({ maxBytes: cap });
  rounds(1, 1);
  settle();
  expect(rounds(1, 10)).toBe(cap);
  expect(budget.usedBytes).toBe(cap - INITIAL);
  take(2 * INITIAL, 10);
  expect(rounds(1, 100)).toBe(cap);
  expect(rounds(1, 1_000)).toBe(cap);
  limits.maxBytes = MAX;
  expect(untilChanged(1_000)).toBe(8);
  expect(at.windowBytes).toBe(2 * cap);
});

test("a budget that is used up stops the growth until the wait is over", () => {
  const { rounds, budget, untilChanged, at } = growing({ budgetBytes: INITIAL });
  budget.reserve(1);
  expect(rounds(1, 100)).toBe(INITIAL);
  budget.release(1);
  expect(untilChanged(100)).toBe(9);
  expect(at.windowBytes).toBe(2 * INITIAL);
});

test("rounds within one tick of the clock have a rate that later ones can exceed", () => {
  const { rounds, settle } = growing();
  const instantly = Number.POSITIVE_INFINITY;
  rounds(1, instantly);
  settle(instantly);
  expect(rounds(1, instantly)).toBe(4 * INITIAL);
  const later = growing();
  later.rounds(1, instantly);
  later.settle();
  expect(later.rounds(1, 1_600 * INITIAL)).toBe(4 * INITIAL);
});

test("a round of half a millisecond is as fast as it was", () => {
  const { rounds, settle } = growing();
  rounds(1, 2 * INITIAL);
  settle();
  expect(rounds(3, 2 * INITIAL)).toBe(INITIAL);
});

test("a stream of less than a byte in a millisecond grows by the same law", () => {
  const { rounds, settle } = growing();
  rounds(1, 1 / 16);
  settle(1 / 16);
  expect(rounds(1, 0.08)).toBe(4 * INITIAL);
  const held = growing();
  held.rounds(1, 1 / 16);
  held.settle(1 / 16);
  expect(held.rounds(3, 0.07)).toBe(INITIAL);
  held.untilChanged(1 / 16);
  held.settle(1 / 16);
  expect(held.rounds(1, 0.08)).toBe(4 * INITIAL);
});
