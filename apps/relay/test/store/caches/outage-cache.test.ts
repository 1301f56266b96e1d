import { expect, test } from "vitest";
import { createOutageCache } from "../../../src/store/caches/outage-cache.ts";

function setUp() {
  const world = {
    now: 0,
    away: false,
    answer: (key: string): string | undefined => `${key} of ${world.now}`,
    asked: 0,
  };
  const load = async (key: string): Promise<string | undefined> => {
    world.asked += 1;
    if (world.away) throw new Error("away");
    return world.answer(key);
  };
  const remembered = createOutageCache(
    load,
    { freshMs: 1_000, outageMs: 60_000 },
    { away: () => world.away, now: () => world.now },
  );
  return { world, remembered };
}

test("an answer is as good as a new one for a moment, then asked for again", async () => {
  const { world, remembered } = setUp();
  await expect(remembered.get("a")).resolves.toBe("a of 0");
  world.now = 999;
  await expect(remembered.get("a")).resolves.toBe("a of 0");
  world.now = 1_000;
  await expect(remembered.get("a")).resolves.toBe("a of 1000");
});

test("while the store is away an answer counts for the outage time, without asking", async () => {
  const { world, remembered } = setUp();
  await remembered.get("a");
  world.away = true;
  world.now = 59_999;
  await expect(remembered.get("a")).resolves.toBe("a of 0");
  expect(world.asked).toBe(1);
  world.now = 60_000;
  await expect(remembered.get("a")).rejects.toThrow("away");
  await expect(remembered.get("b")).rejects.toThrow("away");
});

test("what is gone from the store is forgotten, also for an outage later", async () => {
  const { world, remembered } = setUp();
  await remembered.get("a");
  world.now = 2_000;
  world.answer = () => undefined;
  await expect(remembered.get("a")).resolves.toBeUndefined();
  world.away = true;
  await expect(remembered.get("a")).rejects.toThrow("away");
});

test("50,000 answers are kept for an outage; one more, and those before are forgotten", async () => {
  const { world, remembered } = setUp();
  for (let key = 0; key < 50_000; key += 1) await remembered.get(String(key));
  world.away = true;
  await expect(remembered.get("0")).resolves.toBe("0 of 0");
  await expect(remembered.get("49999")).resolves.toBe("49999 of 0");
  world.away = false;
  await remembered.get("one more");
  world.away = true;
  await expect(remembered.get("0")).rejects.toThrow("away");
  await expect(remembered.get("one more")).resolves.toBe("one more of 0");
});
