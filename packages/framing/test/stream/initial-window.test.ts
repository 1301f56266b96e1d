import { INITIAL_BUDGET_BYTES, INITIAL_WINDOW_BYTES, MIN_WINDOW_BYTES } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import { createBudget } from "../../src/bytes/budget.ts";
import { initialWindow } from "../../src/stream/initial-window.ts";
import { createFakeClock } from "../../src/testing/fake-clock.ts";
import { openStream, sessionPair } from "../../src/testing/session-pair.ts";

/** The windows of so many streams that are all there at once. */
function windowsOf(count: number): readonly number[] {
  const budget = createBudget(INITIAL_BUDGET_BYTES);
  return Array.from({ length: count }, () => {
    const window = initialWindow(budget);
    budget.hold(window);
    return window;
  });
}

const sum = (windows: readonly number[]): number => windows.reduce((total, window) => total + window, 0);

test("half of the budget goes to windows of full size, and from the next stream on they are smaller", () => {
  const windows = windowsOf(130);
  expect(windows.slice(0, 129).every((window) => window === INITIAL_WINDOW_BYTES)).toBe(true);
  expect(windows[129]).toBeLessThan(INITIAL_WINDOW_BYTES);
});

test("no window is below the smallest one, and so many streams promise little more than the budget", () => {
  expect(Math.min(...windowsOf(16_384))).toBe(MIN_WINDOW_BYTES);
  expect(sum(windowsOf(2_000))).toBeLessThan(INITIAL_BUDGET_BYTES + 1_500 * MIN_WINDOW_BYTES);
  expect(sum(windowsOf(16_384))).toBeLessThan(2 * INITIAL_BUDGET_BYTES);
});

test("a stream that ends gives its window back", async () => {
  const clock = createFakeClock();
  const { dialer, acceptor, incoming } = sessionPair(
    { dial: { budgets: { buffers: createBudget(8 * 1_048_576) } } },
    { clock },
  );
  await acceptor.ready;
  const open = async () => await openStream(dialer, incoming);
  const [first] = await open();
  const windowBytes = first.endpoint.windowBytes;
  expect((await open())[0].endpoint.windowBytes).toBeLessThan(windowBytes);
  for (let round = 0; round < 100; round += 1) (await open())[0].reset("CC_CANCELLED", "over");
  first.reset("CC_CANCELLED", "over");
  expect((await open())[0].endpoint.windowBytes).toBeGreaterThan(windowBytes - 1_024);
});

test("hundreds of readers that pause cut nobody, and what they hold stays within the budget", async () => {
  const clock = createFakeClock();
  const buffers = createBudget(8 * 1_048_576);
  const { dialer, acceptor, incoming } = sessionPair({ dial: { budgets: { buffers } } }, { clock });
  await acceptor.ready;
  const payload = Buffer.alloc(200_000, "abcdefg");
  const streams = [];
  for (let count = 0; count < 400; count += 1) {
    const [near, far] = await openStream(dialer, incoming);
    far.end(payload);
    streams.push(near);
  }
  await clock.advance(10_000);
  expect(streams.filter(({ destroyed }) => destroyed)).toEqual([]);
  expect(buffers.usedBytes).toBeGreaterThan(2 * 1_048_576);
  expect(buffers.usedBytes).toBeLessThanOrEqual(buffers.limitBytes);
  const read = await Promise.all(
    streams.map(async (stream) => {
      let bytes = 0;
      for await (const chunk of stream) bytes += Buffer.byteLength(chunk);
      return bytes;
    }),
  );
  expect(new Set(read)).toEqual(new Set([payload.length]));
});
