import { INITIAL_WINDOW_BYTES } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import { createBudget, type MuxStream, type SessionBudgets } from "../src/index.ts";
import { createFakeClock, openStream, sessionPair } from "../src/testing/index.ts";

/** Two sessions over a path with so much delay each way and so much room. */
function pathOf(delayMs: number, bytesPerMs: number, options: { hopWindow?: boolean; budgets?: SessionBudgets } = {}) {
  const clock = createFakeClock();
  const session = {
    hopWindow: { enabled: options.hopWindow ?? true },
    budgets: options.budgets ?? {},
    // Without the hop window a PONG waits as long as every other byte; these paths are slow, not dead.
    keepalive: { answerTimeoutMs: 60_000 },
  };
  const channel = { delayMs: () => delayMs, bytesPerMs, systemBufferBytes: 4_194_304 };
  return { clock, ...sessionPair({ channel, dial: session, accept: session }, { clock }) };
}

type Path = ReturnType<typeof pathOf>;

async function opened(path: Path, forMs: number): Promise<readonly [MuxStream, MuxStream]> {
  const opening = openStream(path.dialer, path.incoming);
  await path.clock.advance(forMs);
  return await opening;
}

/** Writes without end and reads everything. */
async function startBulk(path: Path): Promise<{ readonly far: MuxStream; readonly readBytes: () => number }> {
  const [near, far] = await opened(path, 1_000);
  const block = Buffer.alloc(65_536);
  const pump = (): void => {
    while (near.write(block));
  };
  near.on("drain", pump);
  pump();
  let bytes = 0;
  far.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
  });
  return { far, readBytes: () => bytes };
}

/** Round trips of a byte that is echoed, one each 100 ms. */
async function pingThrough(path: Path, count: number): Promise<number[]> {
  const [near, far] = await opened(path, 5_000);
  far.on("data", (chunk: Buffer) => far.write(chunk));
  const times: number[] = [];
  let sentAt = 0;
  near.on("data", () => times.push(path.clock.monotonicNow() - sentAt));
  for (let index = 0; index < count; index += 1) {
    sentAt = path.clock.monotonicNow();
    near.write("x");
    while (times.length <= index) await path.clock.advance(5);
    await path.clock.advance(100);
  }
  return times;
}

test("a long fast path is filled: the window grows with it", async () => {
  const path = pathOf(25, 100_000);
  const { far, readBytes } = await startBulk(path);
  await path.clock.advance(1_000);
  const before = readBytes();
  await path.clock.advance(1_000);
  expect(readBytes() - before).toBeGreaterThan(0.95 * 100_000 * 1_000);
  expect(far.endpoint.windowBytes).toBeGreaterThan(4_000_000);
});

test("a slow path gets no larger window than it can use", async () => {
  const path = pathOf(10, 1_000);
  const { far, readBytes } = await startBulk(path);
  await path.clock.advance(20_000);
  const before = readBytes();
  await path.clock.advance(10_000);
  expect(readBytes() - before).toBeGreaterThan(0.95 * 1_000 * 10_000);
  expect(far.endpoint.windowBytes).toBeLessThanOrEqual(2 * INITIAL_WINDOW_BYTES);
});

test.each([
  [1, 10_000],
  [10, 1_000],
  [25, 10_000],
])("a byte on a quiet stream is not stuck behind bulk: %i ms, %i bytes per ms", async (delayMs, bytesPerMs) => {
  const path = pathOf(delayMs, bytesPerMs);
  for (let count = 0; count < 4; count += 1) await startBulk(path);
  await path.clock.advance(10_000);
  const times = await pingThrough(path, 20);
  // At most the queue that the hop window allows lies in front of it.
  expect(Math.max(...times)).toBeLessThan(4 * delayMs + 130);
});

test("without the hop window the same byte waits for everything the windows let into the path", async () => {
  const path = pathOf(10, 1_000, { hopWindow: false });
  for (let count = 0; count < 4; count += 1) await startBulk(path);
  await path.clock.advance(10_000);
  expect(Math.max(...(await pingThrough(path, 20)))).toBeGreaterThan(500);
});

test("windows grow no further than their budget, and give it back", async () => {
  const windows = createBudget(1_000_000);
  const path = pathOf(25, 100_000, { budgets: { windows } });
  const { far } = await startBulk(path);
  await path.clock.advance(3_000);
  expect(windows.usedBytes).toBeGreaterThan(0);
  expect(windows.usedBytes).toBeLessThanOrEqual(1_000_000);
  far.destroy();
  await path.clock.advance(1_000);
  expect(windows.usedBytes).toBe(0);
});

test("uploads that nobody reads wait within the budget, and none is reset", async () => {
  const buffers = createBudget(2_000_000);
  const path = pathOf(0, 1_000_000, { budgets: { buffers } });
  const [small, smallFar] = await opened(path, 100);
  small.write("hello");
  const far: MuxStream[] = [];
  for (let count = 0; count < 80; count += 1) {
    const [near, taken] = await opened(path, 100);
    near.write(Buffer.alloc(INITIAL_WINDOW_BYTES));
    await path.clock.advance(100);
    far.push(taken);
  }
  expect(far.filter((stream) => stream.destroyed)).toEqual([]);
  const unread = far.reduce((sum, { endpoint }) => sum + endpoint.unreadBytes, 0);
  expect(unread).toBeGreaterThan(500_000);
  expect(unread).toBeLessThanOrEqual(buffers.limitBytes);
  expect(String(smallFar.read())).toBe("hello");
});
