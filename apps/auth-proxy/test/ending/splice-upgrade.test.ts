import { once } from "node:events";
import { Duplex } from "node:stream";
import { SYSTEM_CLOCK } from "@cluster-connect/base";
import { expect, test } from "vitest";
import { spliceUpgrade, type UpgradeSpliceOptions } from "../../src/ending/splice-upgrade.ts";
import { CLOSE_TIMEOUT_MS } from "../../src/limits/limits.ts";
import { steppedClock } from "../support/stepped-clock.ts";

const DEPS = { clock: SYSTEM_CLOCK };

const NEVER: AbortSignal = new AbortController().signal;
const OPTIONS: UpgradeSpliceOptions = { finalMessage: undefined, gone: NEVER, ended: NEVER, onBytes: () => {} };

/** A caller who takes the next bytes only when the test says so. */
function slowCaller(): { readonly stream: Duplex; readonly taken: () => string; readonly take: () => void } {
  let text = "";
  let waiting: (() => void) | undefined;
  const stream = new Duplex({
    read: () => {},
    write: (chunk: Buffer, _encoding, done) => {
      text += chunk.toString("latin1");
      waiting = done;
    },
  });
  return { stream, taken: () => text, take: () => waiting?.() };
}

/** The apiserver's side as Node gives it: when it has ended, it is closed. */
function upstream(write: (chunk: Buffer) => Error | null = () => null): Duplex {
  return new Duplex({
    allowHalfOpen: false,
    read: () => {},
    write: (chunk: Buffer, _encoding, done) => done(write(chunk)),
  });
}

test("a caller who is slower than the apiserver still gets everything that it sent before its end", async () => {
  const caller = slowCaller();
  const socket = upstream();
  const spliced = spliceUpgrade(caller.stream, socket, Buffer.alloc(0), OPTIONS, DEPS);
  socket.push("first ");
  socket.push("second ");
  socket.push("third");
  socket.push(null);
  await once(socket, "close");
  for (const expected of ["first ", "first second ", "first second third"]) {
    await expect.poll(caller.taken).toBe(expected);
    caller.take();
  }
  await once(caller.stream, "finish");
  caller.stream.push("what a caller says to somebody who has gone");
  caller.stream.push(null);
  await spliced;
});

test("a caller who never ends is let go some time after the apiserver's end", async () => {
  const clock = steppedClock(0);
  const caller = slowCaller();
  const socket = upstream();
  const spliced = spliceUpgrade(caller.stream, socket, Buffer.alloc(0), OPTIONS, { clock });
  socket.push(null);
  await once(caller.stream, "finish");
  await clock.pass(CLOSE_TIMEOUT_MS - 1);
  expect(caller.stream.destroyed).toBe(false);
  await clock.pass(1);
  await spliced;
  expect(caller.stream.destroyed).toBe(true);
});

test("an apiserver that takes nothing any more without having ended breaks both streams off", async () => {
  const caller = slowCaller();
  const socket = upstream(() => new Error("reset"));
  const spliced = spliceUpgrade(caller.stream, socket, Buffer.alloc(0), OPTIONS, DEPS);
  caller.stream.push("anything");
  await expect(spliced).rejects.toThrow("reset");
  expect([caller.stream.destroyed, socket.destroyed]).toEqual([true, true]);
});

test("an apiserver that is lost without an end breaks the caller's stream off", async () => {
  const caller = slowCaller();
  const socket = upstream();
  const spliced = spliceUpgrade(caller.stream, socket, Buffer.alloc(0), OPTIONS, DEPS);
  socket.destroy(new Error("reset"));
  await expect(spliced).rejects.toThrow("reset");
  expect(caller.stream.destroyed).toBe(true);
});
