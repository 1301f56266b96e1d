import { expect, test } from "vitest";
import { createFakeClock, openStream, sessionPair, TEST_OPEN } from "../../src/testing/index.ts";

test("an OPEN into a dead channel finds that out within 2 s, on an idle session too", async () => {
  const clock = createFakeClock();
  const { dialer, channel } = sessionPair({}, { clock });
  await clock.advance(20_000);
  channel.stall();
  const stream = dialer.open(TEST_OPEN);
  await clock.advance(1_699);
  expect(dialer.state).toBe("open");
  await clock.advance(1);
  await expect(dialer.closed).resolves.toMatchObject({ code: "CC_KEEPALIVE_TIMEOUT" });
  await expect(stream.done).resolves.toMatchObject({ error: { code: "CC_CHANNEL_LOST" } });
  expect(clock.pendingTimers).toBe(1);
});

test("an agent that takes its time to answer does not end the session, however many streams wait for it", async () => {
  const clock = createFakeClock();
  const { dialer, incoming } = sessionPair({ channel: { delayMs: () => 300 } }, { clock });
  await clock.advance(20_000);
  const streams = Array.from({ length: 20 }, () => dialer.open(TEST_OPEN));
  await clock.advance(30_000);
  expect(dialer.state).toBe("open");
  for (const _ of streams) (await incoming.next()).reject("CC_UPSTREAM_UNREACHABLE", "not there");
  await clock.advance(1_000);
  expect(dialer.counters.openStreams).toBe(0);
});

test("a long path is given three round trips for each ping", async () => {
  const clock = createFakeClock();
  const { dialer, channel } = sessionPair({ channel: { delayMs: () => 500 } }, { clock });
  await clock.advance(30_000);
  channel.stall();
  dialer.open(TEST_OPEN);
  await clock.advance(700 + 2 * 3_000 - 1);
  expect(dialer.state).toBe("open");
  await clock.advance(1);
  expect(dialer.state).toBe("closed");
});

test("a stream that is answered in time asks nothing", async () => {
  const clock = createFakeClock();
  let messages = 0;
  const count = (bytes: Uint8Array): readonly Uint8Array[] => {
    messages += 1;
    return [bytes];
  };
  const { dialer, incoming } = sessionPair({ channel: { reshape: count } }, { clock });
  await clock.advance(20_000);
  await openStream(dialer, incoming);
  await clock.settle();
  const before = messages;
  await clock.advance(2_000);
  expect(messages).toBe(before);
});
