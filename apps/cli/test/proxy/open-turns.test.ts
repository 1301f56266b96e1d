import { createTokenBucket } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import { createOpenTurns } from "../../src/proxy/open-turns.ts";

const NO_END = new AbortController().signal;
const COUNT = 1_000;
const PER_SECOND = 1_000;
const BURST_SECONDS = 0.2;

const tooFast = (retryAfterMs: number): ConnectError =>
  new ConnectError("CC_LIMIT_REACHED", "Streams are opened too fast", { retryAfterMs });

/** A relay that lets so many through per second, and answers in its own time. */
function pacedRelay(): { readonly open: () => Promise<void>; readonly asked: () => number } {
  const bucket = createTokenBucket(PER_SECOND, { burstSeconds: BURST_SECONDS }, { now: () => performance.now() });
  let asked = 0;
  return {
    asked: () => asked,
    async open() {
      asked += 1;
      const waitMs = bucket.take();
      await new Promise((resolve) => setImmediate(resolve));
      if (waitMs > 0) throw tooFast(waitMs);
    },
  };
}

test("a thousand at once all have their turn, in their order, and the relay is not asked again and again", async () => {
  const relay = pacedRelay();
  const turns = createOpenTurns({ signal: NO_END });
  const done: number[] = [];
  const open = async (index: number): Promise<void> => {
    await turns.take(relay.open, { signal: NO_END });
    done.push(index);
  };
  await Promise.all(Array.from({ length: COUNT }, (_, index) => open(index)));
  expect(done).toHaveLength(COUNT);
  const moved = done.map((index, place) => Math.abs(index - place));
  expect(moved.reduce((sum, places) => sum + places, 0) / COUNT).toBeLessThan(COUNT / 50);
  expect(relay.asked()).toBeLessThan(4 * COUNT);
});

test("one that leaves while it waits holds up no other", async () => {
  const turns = createOpenTurns({ signal: NO_END });
  const leaving = new AbortController();
  let refusals = 0;
  const refusedOnce = async (): Promise<string> => {
    refusals += 1;
    if (refusals === 1) throw tooFast(50);
    return "done";
  };
  const first = turns.take(refusedOnce, { signal: leaving.signal });
  await expect.poll(() => refusals).toBe(1);
  const second = turns.take(refusedOnce, { signal: NO_END });
  leaving.abort(new Error("left"));
  await expect(first).rejects.toThrow("left");
  expect(await second).toBe("done");
  expect(refusals).toBe(2);
});

test("after the last one has had its turn all may come at once again", async () => {
  const turns = createOpenTurns({ signal: NO_END });
  let refused = false;
  await turns.take(
    async () => {
      if (refused) return;
      refused = true;
      throw tooFast(1);
    },
    { signal: NO_END },
  );
  let underWay = 0;
  const all = Promise.withResolvers<void>();
  const meet = async (): Promise<void> => {
    underWay += 1;
    if (underWay === COUNT) all.resolve();
    await all.promise;
  };
  await Promise.all(Array.from({ length: COUNT }, () => turns.take(meet, { signal: NO_END })));
  expect(underWay).toBe(COUNT);
});
