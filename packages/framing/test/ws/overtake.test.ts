import { Socket } from "node:net";
import { expect, test } from "vitest";
import { createFakeClock } from "../../src/testing/index.ts";
import { overtaking, type Place } from "../../src/ws/overtake.ts";

const PLACE: Place = { host: "relay.test", port: 443 };
const OPEN = new AbortController().signal;

/** A socket whose first packet has no answer yet. */
function waitingSocket(): Socket {
  const socket = new Socket();
  Reflect.set(socket, "connecting", true);
  return socket;
}

function answer(socket: Socket): void {
  Reflect.set(socket, "connecting", false);
  socket.emit("connect");
}

/** A place where each connect waits until the test answers it. */
function stage() {
  const clock = createFakeClock();
  const beside: Socket[] = [];
  const attempts: { readonly socket: Socket; readonly done: PromiseWithResolvers<string> }[] = [];
  const deps = {
    clock,
    connect: (place: Place): Socket => {
      expect(place).toEqual(PLACE);
      const socket = waitingSocket();
      beside.push(socket);
      return socket;
    },
  };
  const attempt = (tell: (socket: Socket) => void, signal: AbortSignal): Promise<string> => {
    const [socket, done] = [waitingSocket(), Promise.withResolvers<string>()];
    attempts.push({ socket, done });
    signal.addEventListener("abort", () => done.reject(signal.reason));
    tell(socket);
    return done.promise;
  };
  return { clock, beside, attempts, run: (signal = OPEN) => overtaking(PLACE, attempt, { signal }, deps) };
}

test("a place that answers the first packet is connected to once", async () => {
  const { clock, beside, attempts, run } = stage();
  const done = run();
  await clock.advance(999);
  for (const { socket } of attempts) answer(socket);
  await clock.advance(10_000);
  attempts[0]?.done.resolve("channel");
  expect(await done).toBe("channel");
  expect([attempts.length, beside.length, clock.pendingTimers]).toEqual([1, 0, 0]);
});

test("once a second another connect is tried, one at a time, and none is left", async () => {
  const { clock, beside, attempts, run } = stage();
  const done = run();
  await clock.advance(999);
  expect(beside).toHaveLength(0);
  await clock.advance(1);
  expect(beside.map(({ destroyed }) => destroyed)).toEqual([false]);
  await clock.advance(2_000);
  expect(beside.map(({ destroyed }) => destroyed)).toEqual([true, true, false]);
  attempts[0]?.done.reject(new Error("no answer in time"));
  await expect(done).rejects.toThrow("no answer in time");
  expect(beside.map(({ destroyed }) => destroyed)).toEqual([true, true, true]);
  expect([attempts.length, clock.pendingTimers]).toEqual([1, 0]);
});

test("one that is answered while the attempt still waits makes it begin anew", async () => {
  const { clock, beside, attempts, run } = stage();
  const done = run();
  await clock.advance(2_000);
  for (const socket of beside.slice(-1)) answer(socket);
  await clock.advance(0);
  expect(attempts).toHaveLength(2);
  expect(beside.every(({ destroyed }) => destroyed)).toBe(true);
  attempts[1]?.done.resolve("channel");
  expect(await done).toBe("channel");
  expect(clock.pendingTimers).toBe(0);
});

test("one that is refused, or answered after the attempt was, changes nothing", async () => {
  const { clock, beside, attempts, run } = stage();
  const done = run();
  await clock.advance(1_000);
  beside[0]?.emit("error", new Error("connection refused"));
  await clock.advance(1_000);
  for (const { socket } of attempts) answer(socket);
  for (const socket of beside.slice(-1)) answer(socket);
  await clock.advance(5_000);
  expect([attempts.length, beside.length]).toEqual([1, 2]);
  attempts[0]?.done.resolve("channel");
  expect(await done).toBe("channel");
});

test("an attempt that is given up leaves no socket and no timer", async () => {
  const { clock, beside, run } = stage();
  const gone = new AbortController();
  const done = run(gone.signal);
  await clock.advance(1_000);
  gone.abort(new Error("enough"));
  await expect(done).rejects.toThrow("enough");
  expect(beside.map(({ destroyed }) => destroyed)).toEqual([true]);
  expect(clock.pendingTimers).toBe(0);
});
