import { ConnectError, encodeResumed, parseInstanceId, parseSecret } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import { type Session, supervise } from "../../src/index.ts";
import { createFakeClock, openStream, type SessionPair, sessionPair, TEST_OPEN } from "../../src/testing/index.ts";

const AGENT = parseInstanceId("agent-01");
const KEY = parseSecret("A".repeat(43));

interface Supervised {
  readonly fail?: (attempt: number) => ConnectError | undefined;
  readonly atStake?: () => boolean;
  readonly random?: () => number;
}

function supervised(options: Supervised = {}) {
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
      ...(options.atStake === undefined ? {} : { atStake: options.atStake }),
      onReady: (session) => ready.push(session),
      onWake: (call) => {
        wake = call;
      },
      onEnd: (_error, delayMs) => waits.push(delayMs),
      retry: (error) => error.code !== "CC_AGENT_KEY_REFUSED",
    },
    { clock, random: options.random ?? (() => 0.5) },
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

test("while streams wait for a session it is dialed once a second, and less often when none does any more", async () => {
  let atStake = true;
  const refuse = () => new ConnectError("CC_RELAY_UNREACHABLE", "connection refused");
  const { clock, waits, abort, done } = supervised({ fail: refuse, atStake: () => atStake, random: () => 0.999 });
  await clock.advance(55_000);
  expect(waits.length).toBeGreaterThanOrEqual(55);
  expect(Math.max(...waits)).toBeLessThanOrEqual(1_000);
  atStake = false;
  await clock.advance(60_000);
  expect(waits.at(-1)).toBeGreaterThan(25_000);
  abort.abort();
  await done;
});

test("a relay's retry-after is respected, whatever is at stake", async () => {
  const refuse = () => new ConnectError("CC_LIMIT_REACHED", "too many", { retryAfterMs: 5_000 });
  const { clock, waits, abort, done } = supervised({ fail: refuse, atStake: () => true });
  await clock.advance(1);
  expect(waits).toEqual([5_625]);
  abort.abort();
  await done;
});

test("a session in which a stream went on is a success, however short it was; any other must have held", async () => {
  for (const resumes of [true, false]) {
    const refuse = (attempt: number) =>
      attempt <= 5 ? new ConnectError("CC_RELAY_UNREACHABLE", "connection refused") : undefined;
    const { clock, pairs, waits, abort, done } = supervised({ fail: refuse });
    await clock.advance(8_000);
    const [pair] = pairs;
    if (pair === undefined) throw new Error("no session");
    if (resumes) {
      const [near, far] = await openStream(pair.dialer, pair.incoming);
      const resume = { cluster: TEST_OPEN.cluster, instanceId: AGENT, key: KEY, attempt: 1, viaPeer: false };
      near.endpoint.detach("CC_CHANNEL_LOST", "moved");
      const { host, streamId } = pair.dialer.addMember(near.endpoint, {
        kind: "resume",
        resume: { ...near.endpoint.beginResume(), ...resume },
      });
      near.endpoint.joinResuming(host, streamId);
      const incoming = await pair.incoming.next();
      const adopted = incoming.adopt(far.endpoint);
      far.endpoint.detach("CC_SUPERSEDED", "moved");
      const offsets = { received: 0, consumed: 0, windowBytes: 1 };
      far.endpoint.resumed(adopted.host, adopted.streamId, offsets, (own) =>
        adopted.host.send("RESUMED", adopted.streamId, [encodeResumed(own)]),
      );
      await clock.settle();
    }
    pair.channel.cut();
    await clock.advance(1);
    expect(waits.at(-1)).toBe(resumes ? 250 : 8_000);
    abort.abort();
    await done;
  }
});

test.each([
  [9_999, 8_000],
  [10_000, 250],
])("a session that held for %d ms is followed after %d ms", async (heldMs, waitMs) => {
  const refuse = (attempt: number) =>
    attempt <= 5 ? new ConnectError("CC_RELAY_UNREACHABLE", "connection refused") : undefined;
  const { clock, pairs, waits, abort, done } = supervised({ fail: refuse });
  // 250, 500, 1,000, 2,000 and 4,000 ms of waiting.
  await clock.advance(7_750);
  expect(pairs).toHaveLength(1);
  await clock.advance(heldMs);
  pairs[0]?.channel.cut();
  await clock.advance(1);
  expect(waits.at(-1)).toBe(waitMs);
  abort.abort();
  await done;
});

test("a wake makes the wait after the next failure short again", async () => {
  const refuse = () => new ConnectError("CC_RELAY_UNREACHABLE", "no route to the network");
  const { clock, waits, wake, abort, done } = supervised({ fail: refuse });
  await clock.advance(20_000);
  expect(waits.at(-1)).toBeGreaterThan(4_000);
  wake();
  await clock.settle();
  expect(waits.at(-1)).toBe(250);
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
  const before = clock.monotonicNow();
  for (let attempt = 0; attempt < 10 && ready.length === 0; attempt += 1) {
    wake();
    await clock.settle();
  }
  expect(ready).toHaveLength(1);
  expect(clock.monotonicNow()).toBe(before);
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
