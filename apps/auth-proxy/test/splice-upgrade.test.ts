import { once } from "node:events";
import { Duplex } from "node:stream";
import { afterEach, expect, test, vi } from "vitest";
import { CLOSE_TIMEOUT_MS } from "../src/limits.ts";
import { type SpliceOptions, spliceUpgrade } from "../src/splice-upgrade.ts";

afterEach(() => void vi.useRealTimers());

const NEVER: AbortSignal = new AbortController().signal;
const OPTIONS: SpliceOptions = { lastWord: undefined, gone: NEVER, ended: NEVER, onBytes: () => {} };

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
  const spliced = spliceUpgrade(caller.stream, socket, Buffer.alloc(0), OPTIONS);
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
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const caller = slowCaller();
  const socket = upstream();
  const spliced = spliceUpgrade(caller.stream, socket, Buffer.alloc(0), OPTIONS);
  socket.push(null);
  await once(caller.stream, "finish");
  await vi.advanceTimersByTimeAsync(CLOSE_TIMEOUT_MS);
  await spliced;
  expect(caller.stream.destroyed).toBe(true);
});

test("an apiserver that takes nothing any more without having ended breaks both streams off", async () => {
  const caller = slowCaller();
  const socket = upstream(() => new Error("reset"));
  const spliced = spliceUpgrade(caller.stream, socket, Buffer.alloc(0), OPTIONS);
  caller.stream.push("anything");
  await expect(spliced).rejects.toThrow("reset");
  expect([caller.stream.destroyed, socket.destroyed]).toEqual([true, true]);
});

test("an apiserver that is lost without an end breaks the caller's stream off", async () => {
  const caller = slowCaller();
  const socket = upstream();
  const spliced = spliceUpgrade(caller.stream, socket, Buffer.alloc(0), OPTIONS);
  socket.destroy(new Error("reset"));
  await expect(spliced).rejects.toThrow("reset");
  expect(caller.stream.destroyed).toBe(true);
});
