import { expect, test } from "vitest";
import { createTurns, type Turns } from "../../src/limits/turns.ts";

const LIMITS = { all: 2, perKey: 1, waiting: 3, waitingPerKey: 2 };
const NEVER = new AbortController().signal;

/** Takes turns and writes down in which order they came. */
function taker(turns: Turns): { readonly came: string[]; take(key: string): Promise<() => void> } {
  const came: string[] = [];
  return {
    came,
    async take(key) {
      const leave = await turns.take(key, { signal: NEVER });
      came.push(key);
      return leave;
    },
  };
}

test("a key has its share at once, and waits for its own places beyond it", async () => {
  const turns = createTurns("things", LIMITS);
  const { came, take } = taker(turns);
  const leaveFirst = await take("a");
  const second = take("a");
  await take("b");
  expect(came).toEqual(["a", "b"]);
  expect([turns.size(), turns.waiting()]).toEqual([2, 1]);
  leaveFirst();
  leaveFirst();
  await second;
  expect([turns.size(), turns.waiting()]).toEqual([2, 0]);
});

test("keys take turns: one that asks often does not hold up one that asks once", async () => {
  const turns = createTurns("things", { all: 1, perKey: 1, waiting: 10, waitingPerKey: 10 });
  const { came, take } = taker(turns);
  const leave = await take("a");
  const later = ["a", "a", "a", "b"].map(async (key) => (await take(key))());
  leave();
  await Promise.all(later);
  expect(came).toEqual(["a", "a", "b", "a", "a"]);
});

test("as many wait as may, for one key and in all, and one more is refused", async () => {
  const turns = createTurns("things", LIMITS);
  const refusal = expect.objectContaining({ code: "CC_LIMIT_REACHED", retryAfterMs: 1_000 });
  await turns.take("a", { signal: NEVER });
  await turns.take("b", { signal: NEVER });
  void turns.take("a", { signal: NEVER });
  void turns.take("a", { signal: NEVER });
  await expect(turns.take("a", { signal: NEVER })).rejects.toEqual(refusal);
  void turns.take("b", { signal: NEVER });
  await expect(turns.take("c", { signal: NEVER })).rejects.toEqual(refusal);
  expect(turns.waiting()).toBe(3);
});

test("whoever gives up leaves the queue, and their turn goes to the next", async () => {
  const turns = createTurns("things", { all: 1, perKey: 1, waiting: 2, waitingPerKey: 2 });
  const leave = await turns.take("a", { signal: NEVER });
  const gone = new AbortController();
  const given = turns.take("a", { signal: gone.signal });
  const next = turns.take("a", { signal: NEVER });
  gone.abort(new Error("gave up"));
  await expect(given).rejects.toThrow("gave up");
  expect(turns.waiting()).toBe(1);
  leave();
  (await next)();
  expect([turns.size(), turns.waiting()]).toEqual([0, 0]);
});
