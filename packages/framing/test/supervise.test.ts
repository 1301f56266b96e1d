import { ConnectError } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import { type Session, supervise } from "../src/index.ts";
import { createFakeClock, openStream, type SessionPair, sessionPair } from "../src/testing/index.ts";

function supervised(options: { readonly fail?: (attempt: number) => ConnectError | undefined } = {}) {
  let wake = (): void => {};
  const clock = createFakeClock();
  const abort = new AbortController();
  const pairs: SessionPair[] = [];
  const ready: Session[] = [];
  const waits: number[] = [];
  let attempts = 0;
  const done = supervise(
    () => {
      attempts += 1;
      const error = options.fail?.(attempts);
      if (error !== undefined) return Promise.reject(error);
      const pair = sessionPair({}, { clock });
      pairs.push(pair);
      return Promise.resolve(pair.dialer);
    },
    {
      signal: abort.signal,
      onReady: (session) => ready.push(session),
      onWake: (call) => {
        wake = call;
      },
      onEnd: (_error, delayMs) => waits.push(delayMs),
      retry: (error) => error.code !== "CC_AGENT_KEY_REFUSED",
    },
    { clock, random: () => 0.5 },
  ).catch((error: unknown) => error);
  return { clock, abort, pairs, ready, waits, done, wake: () => wake() };
}

test("a lost session is followed by another", async () => {
  const { clock, pairs, ready, abort, done } = supervised();
  await clock.advance(0);
  pairs[0]?.channel.cut();
  await clock.advance(1_000);
  expect(ready).toHaveLength(2);
  abort.abort();
  expect(await done).toBe(abort.signal.reason);
  expect(ready[1]?.state).toBe("closed");
});

test("waits grow to their limit while attempts fail, and are short again after a session that held", async () => {
  const refuse = (attempt: number) =>
    attempt <= 9 ? new ConnectError("CC_RELAY_UNREACHABLE", "connection refused") : undefined;
  const { clock, pairs, waits, abort, done } = supervised({ fail: refuse });
  await clock.advance(200_000);
  expect(waits).toEqual([250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000]);
  pairs[0]?.channel.cut();
  await clock.advance(1);
  expect(waits.at(-1)).toBe(250);
  abort.abort();
  await done;
});

test("a peer's retry-after is respected", async () => {
  const refuse = (attempt: number) =>
    attempt === 1 ? new ConnectError("CC_LIMIT_REACHED", "too many", { retryAfterMs: 10_000 }) : undefined;
  const { clock, ready, abort, done } = supervised({ fail: refuse });
  await clock.advance(10_000);
  expect(ready).toHaveLength(0);
  await clock.advance(5_000);
  expect(ready).toHaveLength(1);
  abort.abort();
  await done;
});

test("an error that cannot pass ends the supervision", async () => {
  const refused = new ConnectError("CC_AGENT_KEY_REFUSED", "revoked");
  const { done } = supervised({ fail: () => refused });
  expect(await done).toBe(refused);
});

test("after GOAWAY the next session is ready while streams of the old one go on", async () => {
  const { clock, pairs, ready, abort, done } = supervised();
  await clock.advance(0);
  const [first] = pairs;
  if (first === undefined) throw new Error("no session");
  const [near, far] = await openStream(first.dialer, first.incoming);
  const drained = first.acceptor.drain({ deadlineMs: 60_000 });
  await clock.advance(1_000);
  expect(ready).toHaveLength(2);
  expect(first.dialer.state).toBe("draining");
  near.end("still");
  far.end("works");
  near.resume();
  far.resume();
  await clock.advance(10);
  await expect(near.done).resolves.toEqual({ kind: "finished" });
  await clock.advance(2_000);
  await expect(drained).resolves.toMatchObject({ code: undefined });
  expect(ready[1]?.state).toBe("open");
  abort.abort();
  await done;
  expect(clock.pendingTimers).toBe(0);
});

test("a wake ends the wait for the next attempt", async () => {
  const refuse = (attempt: number) =>
    attempt <= 9 ? new ConnectError("CC_RELAY_UNREACHABLE", "no route to the network") : undefined;
  const { clock, ready, wake, abort, done } = supervised({ fail: refuse });
  await clock.advance(50_000);
  expect(ready).toHaveLength(0);
  const before = clock.now();
  for (let attempt = 0; attempt < 10 && ready.length === 0; attempt += 1) {
    wake();
    await clock.settle();
  }
  expect(ready).toHaveLength(1);
  expect(clock.now()).toBe(before);
  abort.abort();
  await done;
});

test("a wake finds a session that is dead within 2 s", async () => {
  const { clock, pairs, ready, wake, abort, done } = supervised();
  await clock.advance(20_000);
  pairs[0]?.channel.stall();
  wake();
  await clock.advance(2_500);
  expect(ready).toHaveLength(2);
  abort.abort();
  await done;
});
