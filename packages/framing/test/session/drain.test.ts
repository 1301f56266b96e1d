import { parseInstanceId } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import { createStreamOpener } from "../../src/index.ts";
import {
  createCountingSecrets,
  createFakeClock,
  openStream,
  readAll,
  sessionPair,
  TEST_OPEN,
} from "../../src/testing/index.ts";

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

test("a stream that is being opened while its session drains is opened in the next one, each byte once", async () => {
  const clock = createFakeClock();
  const channel = { delayMs: () => 20 };
  const [first, second] = [sessionPair({ channel }, { clock }), sessionPair({ channel }, { clock })];
  await clock.advance(200);
  const opener = createStreamOpener({}, { clock, random: () => 0.5, secret: createCountingSecrets(100) });
  opener.use(first.dialer);
  const drained = first.acceptor.drain({ deadlineMs: 30_000 });
  // GOAWAY is on its way, and so is OPEN with the first bytes.
  const near = await opener.open(TEST_OPEN, { signal: new AbortController().signal, reopen: true });
  near.write("said once, ");
  await clock.advance(100);
  expect(first.dialer.state).not.toBe("open");
  expect(opener.counters.suspended).toBe(1);
  near.end("and the rest");
  opener.use(second.dialer);
  await clock.advance(100);
  const far = (await second.incoming.next()).accept({ instanceId: parseInstanceId("agent-02") });
  await clock.advance(100);
  expect((await readAll(far)).toString()).toBe("said once, and the rest");
  await expect(near.accepted).resolves.toMatchObject({ instanceId: "agent-02" });
  await clock.advance(30_000);
  await expect(drained).resolves.toMatchObject({ by: "local" });
  opener.close();
});
