import { EventEmitter } from "node:events";
import { expect, test } from "vitest";
import { type CommandInterrupts, createInterrupts } from "../../src/terminal/interrupts.ts";

/** Signals that come at the times given. */
function stage(): {
  readonly interrupts: CommandInterrupts;
  readonly impatient: () => number;
  send(signal: NodeJS.Signals, atMs: number): void;
} {
  const source = new EventEmitter();
  let nowMs = 0;
  let impatient = 0;
  const interrupts = createInterrupts(
    source,
    () => {
      impatient += 1;
    },
    () => nowMs,
  );
  return {
    interrupts,
    impatient: () => impatient,
    send(signal, atMs) {
      nowMs = atMs;
      source.emit(signal);
    },
  };
}

test("the first Ctrl-C asks, a person's second one does not wait", () => {
  const { interrupts, impatient, send } = stage();
  send("SIGINT", 0);
  expect(interrupts.signal.reason).toMatchObject({ code: "CC_CANCELLED", message: "Ended by SIGINT" });
  send("SIGINT", 299);
  expect(impatient()).toBe(0);
  send("SIGINT", 599);
  expect(impatient()).toBe(1);
});

test.each<readonly [string, readonly (readonly [NodeJS.Signals, number])[]]>([
  [
    "a shell's and the kernel's hang-up",
    [
      ["SIGHUP", 0],
      ["SIGHUP", 2],
    ],
  ],
  [
    "a closed terminal whose shell also ends its jobs",
    [
      ["SIGHUP", 0],
      ["SIGTERM", 1],
      ["SIGHUP", 400],
    ],
  ],
  [
    "a service manager that asks again",
    [
      ["SIGTERM", 0],
      ["SIGTERM", 5_000],
    ],
  ],
  [
    "Ctrl-C that npm passes on as well",
    [
      ["SIGINT", 0],
      ["SIGINT", 3],
    ],
  ],
  [
    "a person's first Ctrl-C after a service manager's word",
    [
      ["SIGTERM", 0],
      ["SIGINT", 1_000],
    ],
  ],
])("%s is no impatience: what was begun is cleaned up", (_, signals) => {
  const { interrupts, impatient, send } = stage();
  for (const [signal, atMs] of signals) send(signal, atMs);
  expect(interrupts.signal.aborted).toBe(true);
  expect(impatient()).toBe(0);
});

test("a shell's and the kernel's signal reach a command once", () => {
  const { interrupts, send } = stage();
  const taken: string[] = [];
  interrupts.take((signal) => taken.push(signal));
  send("SIGHUP", 0);
  send("SIGHUP", 1);
  send("SIGTERM", 2);
  send("SIGTERM", 400);
  expect(taken).toEqual(["SIGHUP", "SIGTERM", "SIGTERM"]);
});

test("signals that somebody took are theirs, however many", () => {
  const source = new EventEmitter();
  const interrupts = createInterrupts(source, () => expect.unreachable());
  const taken: string[] = [];
  const giveBack = interrupts.take((signal) => taken.push(signal));
  source.emit("SIGINT");
  source.emit("SIGINT");
  expect(taken).toEqual(["SIGINT", "SIGINT"]);
  expect(interrupts.signal.aborted).toBe(false);
  giveBack();
  source.emit("SIGINT");
  expect(interrupts.signal.aborted).toBe(true);
});

test("afterwards nothing listens any more", () => {
  const source = new EventEmitter();
  createInterrupts(source, () => {}).dispose();
  expect(source.eventNames()).toEqual([]);
});
