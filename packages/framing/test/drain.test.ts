import { expect, test } from "vitest";
import { createFakeClock, openStream, readAll, sessionPair, TEST_OPEN } from "../src/testing/index.ts";

test("a draining session lets its streams end and then closes", async () => {
  const clock = createFakeClock();
  const { dialer, acceptor, incoming } = sessionPair({}, { clock });
  const [near, far] = await openStream(dialer, incoming);
  const drained = acceptor.drain({ deadlineMs: 30_000 });
  await clock.advance(20_000);
  far.end("all of it");
  expect((await readAll(near)).toString()).toBe("all of it");
  near.end();
  far.resume();
  await clock.advance(2_000);
  await expect(drained).resolves.toMatchObject({ code: undefined, by: "local" });
  await expect(dialer.closed).resolves.toMatchObject({ code: undefined, by: "peer" });
});

test("streams that are still open at the deadline are lost, so that they can be resumed elsewhere", async () => {
  const clock = createFakeClock();
  const { dialer, acceptor, incoming } = sessionPair({}, { clock });
  const [near] = await openStream(dialer, incoming);
  void acceptor.drain({ deadlineMs: 30_000 });
  await clock.advance(30_000);
  await expect(near.done).resolves.toMatchObject({ error: { code: "CC_CHANNEL_LOST" } });
  expect(clock.pendingTimers).toBe(0);
});

test("an OPEN on its way when GOAWAY was said is refused by name", async () => {
  const clock = createFakeClock();
  const { dialer, acceptor } = sessionPair({ channel: { delayMs: () => 20 } }, { clock });
  await clock.advance(200);
  void acceptor.drain({ deadlineMs: 30_000 });
  const near = dialer.open(TEST_OPEN);
  await clock.advance(100);
  await expect(near.accepted).rejects.toMatchObject({ code: "CC_DRAINING" });
});

test("after GOAWAY neither side opens a stream", async () => {
  const clock = createFakeClock();
  const { dialer, acceptor, incoming } = sessionPair({}, { clock });
  await openStream(dialer, incoming);
  acceptor.goaway();
  await clock.settle();
  expect(() => dialer.open(TEST_OPEN)).toThrow(expect.objectContaining({ code: "CC_DRAINING" }));
  expect(() => acceptor.open(TEST_OPEN)).toThrow(expect.objectContaining({ code: "CC_DRAINING" }));
});

test("a session that an administrator ends takes its streams with it, by name", async () => {
  const clock = createFakeClock();
  const { dialer, acceptor, incoming } = sessionPair({}, { clock });
  const [near] = await openStream(dialer, incoming);
  acceptor.close("CC_SESSION_ENDED", "ended by an administrator");
  await expect(near.done).resolves.toMatchObject({ error: { code: "CC_SESSION_ENDED" } });
  await expect(dialer.closed).resolves.toMatchObject({ code: "CC_SESSION_ENDED", by: "peer" });
});

test("aborting a drain closes at once", async () => {
  const clock = createFakeClock();
  const { dialer, acceptor, incoming } = sessionPair({}, { clock });
  await openStream(dialer, incoming);
  const abort = new AbortController();
  const drained = acceptor.drain({ deadlineMs: 30_000, signal: abort.signal });
  abort.abort();
  await drained;
  expect(acceptor.state).toBe("closed");
});
