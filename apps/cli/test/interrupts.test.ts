import { EventEmitter } from "node:events";
import { expect, test } from "vitest";
import { createInterrupts } from "../src/interrupts.ts";

test("the first signal asks, the second one does not wait", () => {
  const source = new EventEmitter();
  let impatient = 0;
  const interrupts = createInterrupts(source, () => {
    impatient += 1;
  });
  source.emit("SIGTERM");
  expect(interrupts.signal.reason).toMatchObject({ code: "CC_CANCELLED", message: "Ended by SIGTERM" });
  expect(impatient).toBe(0);
  source.emit("SIGINT");
  expect(impatient).toBe(1);
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
