import { EventEmitter } from "node:events";
import { expect, test } from "vitest";
import { createShutdown } from "../../src/index.ts";
import { createMemoryLogger } from "../../src/testing/index.ts";

function start(deadlineMs: number) {
  const signals = new EventEmitter();
  const log = createMemoryLogger();
  return { signals, log, shutdown: createShutdown({ deadlineMs }, { signals, log }) };
}

test("a signal runs the steps in reverse order and says that all was in time", async () => {
  const { signals, shutdown } = start(10_000);
  const order: string[] = [];
  shutdown.add("store", () => void order.push("store"));
  shutdown.add("server", async () => void order.push("server"));
  expect(shutdown.stopping.aborted).toBe(false);
  signals.emit("SIGTERM");
  expect(shutdown.stopping.aborted).toBe(true);
  await expect(shutdown.done).resolves.toEqual({ inTime: true });
  expect(order).toEqual(["server", "store"]);
  expect(signals.listenerCount("SIGTERM") + signals.listenerCount("SIGINT")).toBe(0);
});

test("a second signal aborts the step that runs, and the others still run", async () => {
  const { signals, shutdown } = start(60_000);
  const order: string[] = [];
  shutdown.add("last", ({ signal }) => void order.push(`last ${signal.aborted}`));
  shutdown.add(
    "drain",
    ({ signal }) => new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve())),
  );
  signals.emit("SIGTERM");
  signals.emit("SIGINT");
  await expect(shutdown.done).resolves.toEqual({ inTime: false });
  expect(order).toEqual(["last true"]);
});

test("the deadline cuts a step off that never ends", async () => {
  const { signals, shutdown } = start(1);
  shutdown.add("stuck", () => new Promise<void>(() => undefined));
  signals.emit("SIGINT");
  await expect(shutdown.done).resolves.toEqual({ inTime: false });
});

test("a step that fails is logged and does not stop the others", async () => {
  const { shutdown, log } = start(10_000);
  const order: string[] = [];
  shutdown.add("second", () => void order.push("second"));
  shutdown.add("first", () => Promise.reject(new Error("disk full")));
  shutdown.begin("test");
  await shutdown.done;
  expect(order).toEqual(["second"]);
  expect(log.lines).toContainEqual(
    expect.objectContaining({ event: "shutdown.step", step: "first", reason: "disk full" }),
  );
});
