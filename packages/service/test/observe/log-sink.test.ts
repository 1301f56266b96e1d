import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { SYSTEM_CLOCK } from "@cluster-connect/base";
import { afterEach, expect, test } from "vitest";
import { createLogger, createLogSink, createMetrics } from "../../src/index.ts";

const NOISY = new URL("../support/noisy-process.ts", import.meta.url).pathname;
const pids: number[] = [];
afterEach(() => {
  for (const pid of pids.splice(0)) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It has ended.
    }
  }
});

/** A process that logs 40,000 lines as fast as it can, and says on stdout how that went. */
function startNoisy(stderr: "pipe" | number) {
  const child = spawn(process.execPath, ["--conditions=source", NOISY], { stdio: ["ignore", "pipe", stderr] });
  if (child.pid !== undefined) pids.push(child.pid);
  const exited = once(child, "exit");
  let out = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  const report = async (): Promise<{ readonly dropped: number }> => {
    await exited;
    return JSON.parse(out);
  };
  return { child, exited, report };
}

test("a pipe that nobody reads holds up neither the process nor its end, and dropped lines are counted", async () => {
  const { child, exited, report } = startNoisy("pipe");
  child.stderr?.pause();
  const { dropped } = await report();
  expect((await exited)[0]).toBe(0);
  expect(dropped).toBeGreaterThan(10_000);
});

test("a full device drops every line, and the process goes on", async () => {
  const full = openSync("/dev/full", "w");
  const { exited, report } = startNoisy(full);
  closeSync(full);
  expect((await report()).dropped).toBe(40_000);
  expect((await exited)[0]).toBe(0);
});

test("a pipe whose reader has gone drops lines, and the process goes on", async () => {
  const { child, exited, report } = startNoisy("pipe");
  child.stderr?.destroy();
  expect((await report()).dropped).toBeGreaterThan(0);
  expect((await exited)[0]).toBe(0);
});

test("a reader that is slow and comes back gets whole lines, and one that says how many are missing", async () => {
  const { child, exited, report } = startNoisy("pipe");
  child.stderr?.pause();
  await once(child.stdout ?? child, "data"); // the flood is over
  let text = "";
  child.stderr?.setEncoding("utf8").on("data", (part: string) => {
    text += part;
  });
  child.stderr?.resume();
  await exited;
  const lines = text.trimEnd().split("\n");
  const events = lines.map((line): Record<string, unknown> => JSON.parse(line));
  const { dropped } = await report();
  const told = events.filter(({ event }) => event === "logs.dropped");
  expect(told.reduce((sum, { lines: count }) => sum + Number(count), 0)).toBe(dropped);
  expect(lines.length - told.length + dropped).toBe(40_000);
});

/** An outlet that a test lets take lines, or refuse them. */
function createGate() {
  const written: string[] = [];
  let pending: ((error: Error | null) => void) | undefined;
  return {
    written,
    release(error: Error | null = null) {
      const done = pending;
      pending = undefined;
      done?.(error);
    },
    write(bytes: Buffer, done: (error: Error | null) => void) {
      written.push(bytes.toString());
      pending = done;
    },
    close: () => {},
  };
}

test("lines wait up to the bound, and the one that passes it is dropped", () => {
  const outlet = createGate();
  const sink = createLogSink({ maxBytes: 10 }, { clock: SYSTEM_CLOCK, outlet });
  sink.write("12345");
  sink.write("67890");
  expect(sink.dropped).toBe(0);
  sink.write("x");
  expect(sink.dropped).toBe(1);
  outlet.release();
  outlet.release();
  sink.write("y");
  expect(outlet.written).toEqual(["12345", "67890", "y"]);
});

test("lines that could not be written are dropped, and told once lines go out again", () => {
  const outlet = createGate();
  const sink = createLogSink({}, { clock: SYSTEM_CLOCK, outlet });
  const log = createLogger({ service: "relay" }, sink);
  log.info({ event: "one" });
  outlet.release(new Error("ENOSPC"));
  log.info({ event: "two" });
  outlet.release();
  outlet.release();
  const events = outlet.written.map((line): Record<string, unknown> => JSON.parse(line));
  expect(events).toMatchObject([
    { event: "one" },
    { event: "two" },
    { event: "logs.dropped", level: "warn", lines: 1 },
  ]);
});

test("the end writes what waits, but waits no longer than its time for the reader", async () => {
  const outlet = createGate();
  const sink = createLogSink({}, { clock: SYSTEM_CLOCK, outlet });
  sink.write("a\n");
  sink.write("b\n");
  const closed = sink.close({ timeoutMs: 60_000 });
  outlet.release();
  outlet.release();
  await closed;
  expect(outlet.written).toEqual(["a\n", "b\n"]);
  const stuck = createLogSink({}, { clock: SYSTEM_CLOCK, outlet: createGate() });
  stuck.write("a\n");
  await stuck.close({ timeoutMs: 1 });
  stuck.write("late\n");
  expect(stuck.dropped).toBe(1);
});

test("dropped lines are a counter of the metrics", async () => {
  let dropped = 3;
  const metrics = createMetrics({ service: "relay", droppedLines: () => dropped });
  expect(await metrics.text()).toContain('cluster_connect_logs_dropped_total{service="relay"} 3');
  dropped = 5;
  expect(await metrics.text()).toContain('cluster_connect_logs_dropped_total{service="relay"} 5');
});
