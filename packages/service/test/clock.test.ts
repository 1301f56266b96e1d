import { expect, test } from "vitest";
import { repeat } from "../src/index.ts";

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
