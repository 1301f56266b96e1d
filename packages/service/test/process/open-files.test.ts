import { once } from "node:events";
import { Socket } from "node:net";
import { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import { createFileGuard, outOfFiles } from "../../src/process/open-files.ts";

/** A socket with this file, as the system gives them. */
function socketOf(file: number): Socket {
  const socket = new Socket();
  Reflect.set(socket, "_handle", { fd: file });
  return socket;
}

test("sixteen files are kept, and a connection that takes one of them is told", () => {
  const isOneOfTheLast = createFileGuard(() => 1_024);
  expect(isOneOfTheLast(socketOf(1_024 - 17))).toBe(false);
  expect(isOneOfTheLast(socketOf(1_024 - 16))).toBe(true);
  expect(isOneOfTheLast(socketOf(1_023))).toBe(true);
});

test("the system is asked once, and not before there are many files", () => {
  let asked = 0;
  const isOneOfTheLast = createFileGuard(() => {
    asked += 1;
    return 100;
  });
  expect([isOneOfTheLast(socketOf(47)), asked]).toEqual([false, 0]);
  expect([isOneOfTheLast(socketOf(48)), asked]).toEqual([false, 1]);
  expect([isOneOfTheLast(socketOf(84)), asked]).toEqual([true, 1]);
});

test("without numbers or without a limit nothing is refused", () => {
  expect(createFileGuard(() => 1)(socketOf(-1))).toBe(false);
  expect(createFileGuard(() => undefined)(socketOf(1_000_000))).toBe(false);
  expect(createFileGuard(() => 1)(new Socket())).toBe(false);
});

test("the limit of this process is known", () => {
  expect(createFileGuard()(socketOf(1_000_000_000))).toBe(true);
  expect(createFileGuard()(socketOf(48))).toBe(false);
});

test("a thread that stands still, such as one that waits for a disk, is not waited for", async () => {
  const shared = new Int32Array(new SharedArrayBuffer(8));
  // The thread says that it stands, and what ended that: our word, or its time.
  const text = `const { parentPort, workerData: shared } = require("node:worker_threads");
    Atomics.store(shared, 1, 1); Atomics.notify(shared, 1);
    parentPort.postMessage(Atomics.wait(shared, 0, 0, 60_000));`;
  const thread = new Worker(text, { eval: true, workerData: shared });
  const ended = once(thread, "message");
  await Atomics.waitAsync(shared, 1, 0).value;
  expect(createFileGuard()(socketOf(1_000_000_000))).toBe(true);
  Atomics.store(shared, 0, 1);
  Atomics.notify(shared, 0);
  expect(await ended).not.toEqual(["timed-out"]);
});

test("a refusal for want of files names the program, what it could not do, and the limit to raise", () => {
  expect(outOfFiles("agent", { detail: ", so nothing is reached" })).toMatchObject({
    code: "CC_LIMIT_REACHED",
    message: "The agent has as many open files as it may, so nothing is reached",
    hint: expect.stringMatching(/ulimit -n.* where the agent runs/),
    retryAfterMs: 1_000,
  });
});
