import { expect, test } from "vitest";
import { repeat, SYSTEM_CLOCK, wait } from "../src/index.ts";

test("a task is repeated until the signal is aborted", async () => {
  const stop = new AbortController();
  let runs = 0;
  await repeat(
    () => {
      runs += 1;
      if (runs === 3) stop.abort();
    },
    { intervalMs: 1, signal: stop.signal },
  );
  expect(runs).toBe(3);
});

test("a task that fails ends the repetition with its error", async () => {
  const task = (): Promise<void> => Promise.reject(new Error("broken"));
  await expect(repeat(task, { intervalMs: 1, signal: new AbortController().signal })).rejects.toThrow("broken");
});

test("a wait that is aborted ends with the signal's reason and leaves no timer", async () => {
  const stop = new AbortController();
  const timers = new Set<() => void>();
  const clock = {
    ...SYSTEM_CLOCK,
    setTimer(_delayMs: number, fire: () => void) {
      timers.add(fire);
      return { cancel: () => void timers.delete(fire) };
    },
  };
  const waiting = wait(1_000, { signal: stop.signal }, { clock });
  expect(timers.size).toBe(1);
  stop.abort(new Error("enough"));
  await expect(waiting).rejects.toThrow("enough");
  expect(timers.size).toBe(0);
  await expect(wait(1, { signal: stop.signal }, { clock })).rejects.toThrow("enough");
});
