import { encodeU64 } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import { createKeepalive, type Keepalive } from "../../src/hop/keepalive.ts";
import { createFakeClock, openStream, sessionPair } from "../../src/testing/index.ts";

function watched(busy: boolean) {
  const clock = createFakeClock();
  const pings: Uint8Array[] = [];
  let deadAt: number | undefined;
  const keepalive: Keepalive = createKeepalive(
    {},
    {
      clock,
      busy: () => busy,
      ping: (payload) => pings.push(payload),
      dead: () => {
        deadAt = clock.monotonicNow();
      },
    },
  );
  return { clock, pings, keepalive, deadAt: () => deadAt };
}

test("both sides of a link that is dead in the middle notice within 10 s while a stream is open", async () => {
  const clock = createFakeClock();
  const { dialer, acceptor, incoming, channel } = sessionPair({}, { clock });
  await openStream(dialer, incoming);
  await clock.advance(12_345);
  channel.stall();
  await clock.advance(10_000);
  await expect(dialer.closed).resolves.toMatchObject({ code: "CC_KEEPALIVE_TIMEOUT", by: "network" });
  await expect(acceptor.closed).resolves.toMatchObject({ code: "CC_KEEPALIVE_TIMEOUT" });
  expect(clock.pendingTimers).toBe(0);
});

test("a link that answers is left alone, and its round trip is known", async () => {
  const clock = createFakeClock();
  const { dialer, incoming } = sessionPair({ channel: { delayMs: () => 40 } }, { clock });
  const opened = openStream(dialer, incoming);
  await clock.advance(60_000);
  await opened;
  expect(dialer.state).toBe("open");
  expect(dialer.counters.rttMs).toBe(80);
});

test("an answer that comes late, but before the second miss, counts", async () => {
  const { clock, pings, keepalive, deadAt } = watched(true);
  keepalive.start();
  await clock.advance(4_200);
  keepalive.pong(pings[0] ?? encodeU64(0));
  await clock.advance(2_000);
  expect(deadAt()).toBeUndefined();
});

test("a PONG with a number that was never asked proves nothing", async () => {
  const { clock, keepalive, deadAt } = watched(true);
  keepalive.start();
  for (let step = 0; step < 5; step += 1) {
    await clock.advance(1_000);
    keepalive.pong(encodeU64(77));
  }
  expect(deadAt()).toBe(4_400);
});

/** Answers each ping at once for so long. */
async function answering({ clock, pings, keepalive }: ReturnType<typeof watched>, forMs: number): Promise<void> {
  let answered = 0;
  for (const until = clock.monotonicNow() + forMs; clock.monotonicNow() < until; await clock.advance(10)) {
    for (; answered < pings.length; answered += 1) keepalive.pong(pings[answered] ?? encodeU64(0));
  }
}

test("the first pings follow each other closely, so that the round trip is known", async () => {
  const under = watched(false);
  under.keepalive.start();
  await answering(under, 1_000);
  expect(under.pings).toHaveLength(6);
});

test("an idle session pings seldom until a stream is opened", async () => {
  const under = watched(false);
  const { clock, pings, keepalive } = under;
  keepalive.start();
  await answering(under, 1_000);
  await clock.advance(14_000);
  expect(pings).toHaveLength(6);
  await answering(under, 1_000);
  expect(pings).toHaveLength(7);
  keepalive.wake();
  await clock.advance(5_000);
  expect(pings).toHaveLength(8);
});

test("bytes that the peer acknowledges prove that it is alive", async () => {
  const { clock, keepalive, deadAt } = watched(true);
  keepalive.start();
  for (let step = 0; step < 10; step += 1) {
    await clock.advance(2_000);
    keepalive.alive();
  }
  expect(deadAt()).toBeUndefined();
});

test("the round trip is smoothed: a single slow answer moves it by an eighth", async () => {
  const { clock, pings, keepalive } = watched(true);
  const answerAfter = async (ms: number): Promise<void> => {
    const asked = pings.length;
    await expect
      .poll(async () => {
        await clock.advance(10);
        return pings.length;
      })
      .toBeGreaterThan(asked);
    await clock.advance(ms);
    keepalive.pong(pings.at(-1) ?? encodeU64(0));
  };
  keepalive.start();
  await clock.advance(100);
  keepalive.pong(pings[0] ?? encodeU64(0));
  expect(keepalive.rttMs).toBe(100);
  await answerAfter(900);
  expect(keepalive.rttMs).toBe(200);
  await answerAfter(200);
  expect(keepalive.rttMs).toBe(200);
});
