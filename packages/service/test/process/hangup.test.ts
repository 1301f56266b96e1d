import { EventEmitter } from "node:events";
import { expect, test } from "vitest";
import { onHangup } from "../../src/index.ts";
import { createMemoryLogger } from "../../src/testing/index.ts";

test("SIGHUP reads again, one reading at a time, and not while the process stops", async () => {
  const [signals, log, stop] = [new EventEmitter(), createMemoryLogger(), new AbortController()];
  let readings = 0;
  let done = Promise.withResolvers<void>();
  const reload = async (): Promise<void> => {
    readings += 1;
    await done.promise;
  };
  onHangup({ signal: stop.signal }, { signals, log, reload });
  signals.emit("SIGHUP");
  signals.emit("SIGHUP");
  expect(readings).toBe(1);
  done.reject(new Error("broken file"));
  expect(await log.once("signal.reload")).toMatchObject({ level: "warn", reason: "broken file" });
  done = Promise.withResolvers();
  done.resolve();
  await expect
    .poll(() => {
      signals.emit("SIGHUP");
      return readings;
    })
    .toBeGreaterThan(1);
  stop.abort();
  const before = readings;
  signals.emit("SIGHUP");
  expect(readings).toBe(before);
});
