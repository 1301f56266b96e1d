import { once } from "node:events";
import { type Socket, Socket as UpstreamSocket } from "node:net";
import { type Clock, SYSTEM_CLOCK } from "@cluster-connect/base";
import { createReadMemory } from "@cluster-connect/framing";
import { createFakeClock } from "@cluster-connect/framing/testing";
import { expect, test } from "vitest";
import { createFirstByteWatch, type FirstByteWatch } from "../../src/streams/first-byte.ts";
import { answersQuestion, connectUpstream } from "../../src/streams/upstream.ts";
import { listenTcp } from "../support/fixture.ts";

const HEADER = Buffer.from("header");
const LATE_MS = 700;
const readMemory = createReadMemory();
const never = { signal: new AbortController().signal };

interface Scene {
  readonly clock: ReturnType<typeof createFakeClock>;
  readonly watch: FirstByteWatch;
  readonly asked: () => number;
  /** The socket at the agent, and the upstream's side of it. */
  connect(): Promise<{ readonly socket: Socket; readonly upstream: Socket }>;
}

/** A clock of the test's, and an upstream on a real socket. @param answers is asked for each question. */
async function scene(answers: () => Promise<boolean>): Promise<Scene> {
  const clock = createFakeClock();
  const accepted: Socket[] = [];
  const { address } = await listenTcp((socket) => {
    socket.resume();
    accepted.push(socket);
  });
  let asked = 0;
  const ask = async (): Promise<boolean> => {
    asked += 1;
    return await answers();
  };
  return {
    clock,
    watch: createFirstByteWatch({ clock, ask }),
    asked: () => asked,
    async connect() {
      const socket = await connectUpstream("kubernetes", address, never, { readMemory });
      socket.resume();
      await expect.poll(() => accepted.length).toBeGreaterThan(0);
      return { socket, upstream: accepted.pop() ?? new UpstreamSocket() };
    },
  };
}

async function say(socket: Socket, text: string | Buffer): Promise<void> {
  await new Promise((resolve) => socket.write(text, resolve));
}

test("an upstream that stands is told as soon as it was late, asked and silent", async () => {
  const { clock, watch, connect, asked } = await scene(async () => false);
  const { socket } = await connect();
  await say(socket, HEADER);
  const stood: string[] = [];
  watch.watch(socket, HEADER.length, () => stood.push("first"));
  await say(socket, "hello");
  await clock.advance(LATE_MS - 1);
  expect(asked()).toBe(0);
  await clock.advance(1);
  expect(stood).toEqual(["first"]);
  expect(clock.pendingTimers).toBe(0);
  // The next one need not be late: what stood a moment ago is asked at once.
  const next = await connect();
  await say(next.socket, "header and hello");
  watch.watch(next.socket, HEADER.length, () => stood.push("second"));
  await clock.advance(0);
  expect(stood).toEqual(["first", "second"]);
});

test("an upstream that answers questions is slow, and is waited for however long its first byte takes", async () => {
  const { clock, watch, connect, asked } = await scene(async () => true);
  const { socket, upstream } = await connect();
  watch.watch(socket, 0, () => expect.unreachable("it does not stand"));
  await say(socket, "hello");
  await clock.advance(10 * LATE_MS);
  expect(asked()).toBe(10);
  upstream.write("!");
  await once(socket, "data");
  await clock.advance(LATE_MS);
  expect(asked()).toBe(10);
  expect(clock.pendingTimers).toBe(0);
});

test("after its first byte an upstream may take its time, and one that was told nothing is not asked", async () => {
  const { clock, watch, connect, asked } = await scene(async () => false);
  const stands = (): void => expect.unreachable("it does not stand");
  const spoken = await connect();
  watch.watch(spoken.socket, 0, stands);
  await say(spoken.socket, "hello");
  spoken.upstream.write("!");
  await once(spoken.socket, "data");
  const silent = await connect();
  await say(silent.socket, HEADER);
  watch.watch(silent.socket, HEADER.length, stands);
  await clock.advance(100 * LATE_MS);
  expect(asked()).toBe(0);
  silent.socket.destroy();
  await once(silent.socket, "close");
  expect(clock.pendingTimers).toBe(0);
});

test("streams that are late together share one question", async () => {
  const answer = Promise.withResolvers<boolean>();
  const { clock, watch, connect, asked } = await scene(() => answer.promise);
  let stood = 0;
  for (let count = 0; count < 5; count += 1) {
    const { socket } = await connect();
    await say(socket, "hello");
    watch.watch(socket, 0, () => {
      stood += 1;
    });
  }
  await clock.advance(LATE_MS);
  expect(asked()).toBe(1);
  answer.resolve(false);
  await clock.settle();
  expect(stood).toBe(5);
});

test("an upstream that says something to one caller meanwhile does not stand for another", async () => {
  const { clock, watch, connect } = await scene(async () => {
    heard.upstream.write("!");
    await once(heard.socket, "data");
    return false;
  });
  const waits = await connect();
  const heard = await connect();
  const stands = (): void => expect.unreachable("it does not stand");
  await say(waits.socket, "hello");
  watch.watch(waits.socket, 0, stands);
  await clock.advance(1);
  await say(heard.socket, "hello");
  watch.watch(heard.socket, 0, stands);
  await clock.advance(LATE_MS - 1);
  await expect.poll(() => clock.pendingTimers).toBe(2);
  for (const { socket } of [waits, heard]) socket.destroy();
});

test("an auth proxy that was given no time by its machine is not said to stand", async () => {
  const clock = createFakeClock();
  const standing = await listenTcp(() => undefined);
  let late = 60;
  const slow: Clock = { ...clock, setTimer: (delayMs, fire) => clock.setTimer(delayMs + late, fire) };
  let answer: boolean | undefined;
  void answersQuestion("kubernetes", standing.address, { clock: slow, readMemory }).then((is) => {
    answer = is;
  });
  for (let count = 0; count < 20; count += 1) await clock.advance(260);
  expect(answer).toBeUndefined();
  late = 0;
  // The tick that was set before comes late as well.
  await clock.advance(260 + 5 * 200 - 1);
  expect(answer).toBeUndefined();
  await clock.advance(1);
  await expect.poll(() => answer).toBe(false);
});

test("an auth proxy answers a question by closing, by refusing, and not by taking connections alone", async () => {
  const deps = { clock: SYSTEM_CLOCK, readMemory };
  const closing = await listenTcp((socket) => void socket.once("data", () => socket.destroy()));
  await expect(answersQuestion("kubernetes", closing.address, deps)).resolves.toBe(true);
  const nobody = { kind: "tcp", host: "127.0.0.1", port: 1 } as const;
  await expect(answersQuestion("kubernetes", nobody, deps)).resolves.toBe(true);
  const standing = await listenTcp(() => undefined);
  await expect(answersQuestion("kubernetes", standing.address, deps)).resolves.toBe(false);
});
