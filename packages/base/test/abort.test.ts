import { getEventListeners } from "node:events";
import { expect, test } from "vitest";
import { onAbort, raceAbort, untilAborted } from "../src/index.ts";

const listeners = (signal: AbortSignal): number => getEventListeners(signal, "abort").length;

test("what is to happen at an abort happens once, and at once when the signal is aborted already", () => {
  const stop = new AbortController();
  let calls = 0;
  onAbort(stop.signal, () => {
    calls += 1;
  });
  expect(calls).toBe(0);
  stop.abort();
  expect(calls).toBe(1);
  onAbort(stop.signal, () => {
    calls += 1;
  });
  expect(calls).toBe(2);
});

test("what was called off does not happen, and leaves no listener", () => {
  const stop = new AbortController();
  let calls = 0;
  const leave = onAbort(stop.signal, () => {
    calls += 1;
  });
  leave();
  expect(listeners(stop.signal)).toBe(0);
  stop.abort();
  expect(calls).toBe(0);
});

test("a race has the outcome of the work, or the signal's reason, and leaves no listener", async () => {
  const stop = new AbortController();
  await expect(raceAbort(Promise.resolve("done"), stop.signal)).resolves.toBe("done");
  await expect(raceAbort(Promise.reject(new Error("broken")), stop.signal)).rejects.toThrow("broken");
  const never = raceAbort(new Promise(() => {}), stop.signal);
  expect(listeners(stop.signal)).toBe(1);
  stop.abort(new Error("enough"));
  await expect(never).rejects.toThrow("enough");
  expect(listeners(stop.signal)).toBe(0);
});

test("work that fails after a race that was lost before it began is no unhandled rejection", async () => {
  const signal = AbortSignal.abort(new Error("enough"));
  await expect(raceAbort(Promise.reject(new Error("broken")), signal)).rejects.toThrow("enough");
  await new Promise((resolve) => setImmediate(resolve));
});

test("waiting for an abort ends with it", async () => {
  await untilAborted(AbortSignal.abort());
  const stop = new AbortController();
  const waiting = untilAborted(stop.signal);
  stop.abort();
  await waiting;
});
