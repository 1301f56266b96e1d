import { encodeEnd, INITIAL_WINDOW_BYTES, parseInstanceId } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import { createStreamOpener, type IncomingStream, type MuxStream } from "../../src/index.ts";
import {
  createCountingSecrets,
  createFakeClock,
  type FakeClock,
  readAll,
  type SessionPair,
  sessionPair,
  TEST_OPEN,
} from "../../src/testing/index.ts";

const AGENT = parseInstanceId("agent-01");
const ONE_WAY_MS = 20;
const BROKEN_OFF = encodeEnd({ code: "CC_CHANNEL_LOST", text: "the relay holds too much" });

function createOpener(clock: FakeClock) {
  return createStreamOpener({ graceMs: 60_000 }, { clock, random: () => 0.5, secret: createCountingSecrets(1_000) });
}

/** A session over a slow channel whose acceptor takes every stream. */
async function connect(clock: FakeClock): Promise<SessionPair & { readonly taken: MuxStream[] }> {
  const taken: MuxStream[] = [];
  const onStream = (incoming: IncomingStream) =>
    void taken.push(incoming.accept({ instanceId: AGENT, graceMs: 60_000 }));
  const pair = sessionPair({ channel: { delayMs: () => ONE_WAY_MS }, accept: { onStream } }, { clock });
  await clock.advance(200);
  return { ...pair, taken };
}

const never = (): { readonly signal: AbortSignal } => ({ signal: new AbortController().signal });

test.each([true, false])(
  "OPEN and GOAWAY cross, reopen %s: the stream begins anew on the next channel",
  async (reopen) => {
    const clock = createFakeClock();
    const opener = createOpener(clock);
    const old = await connect(clock);
    opener.use(old.dialer);
    void old.acceptor.drain({ deadlineMs: 30_000 });
    const near = await opener.open(TEST_OPEN, { ...never(), reopen });
    near.end("hello");
    const next = await connect(clock);
    opener.use(next.dialer);
    await clock.advance(1_000);
    expect(old.taken).toHaveLength(0);
    expect(near.destroyed).toBe(false);
    const [far] = next.taken;
    if (far === undefined) throw new Error("the stream was not taken");
    expect((await readAll(far)).toString()).toBe("hello");
  },
);

test("GOAWAY comes first: the stream waits for the next channel", async () => {
  const clock = createFakeClock();
  const opener = createOpener(clock);
  const old = await connect(clock);
  opener.use(old.dialer);
  void old.acceptor.drain({ deadlineMs: 30_000 });
  await clock.advance(ONE_WAY_MS);
  const opening = opener.open(TEST_OPEN, never());
  const next = await connect(clock);
  opener.use(next.dialer);
  const near = await opening;
  await clock.advance(200);
  await expect(near.accepted).resolves.toMatchObject({ instanceId: AGENT });
  expect([old.taken.length, next.taken.length]).toEqual([0, 1]);
});

test("GOAWAY comes while an open is about to begin: the stream waits for the next channel", async () => {
  const clock = createFakeClock();
  const opener = createOpener(clock);
  const old = await connect(clock);
  opener.use(old.dialer);
  const opening = opener.open(TEST_OPEN, never());
  old.dialer.goaway();
  const next = await connect(clock);
  opener.use(next.dialer);
  await clock.advance(200);
  await expect((await opening).accepted).resolves.toMatchObject({ instanceId: AGENT });
  expect([old.taken.length, next.taken.length]).toEqual([0, 1]);
});

test("OPEN comes first: the stream is answered where it was opened, and moves on with the others", async () => {
  const clock = createFakeClock();
  const opener = createOpener(clock);
  const waiting: IncomingStream[] = [];
  const old = sessionPair(
    { channel: { delayMs: () => ONE_WAY_MS }, accept: { onStream: (incoming) => void waiting.push(incoming) } },
    { clock },
  );
  await clock.advance(200);
  opener.use(old.dialer);
  const near = await opener.open(TEST_OPEN, never());
  near.end("hello");
  await clock.advance(ONE_WAY_MS);
  void old.acceptor.drain({ deadlineMs: 30_000 });
  await clock.advance(ONE_WAY_MS);
  opener.use((await connect(clock)).dialer);
  const far = waiting[0]?.accept({ instanceId: AGENT, graceMs: 60_000 });
  if (far === undefined) throw new Error("the stream did not come");
  await clock.advance(200);
  expect((await readAll(far)).toString()).toBe("hello");
  expect(near.destroyed).toBe(false);
});

test("a stream that is broken off wherever it goes is not sent there again at once, and ends with its grace time", async () => {
  const clock = createFakeClock();
  const opener = createOpener(clock);
  let opened = 0;
  const onStream = (incoming: IncomingStream): void => {
    opened += 1;
    const stream = incoming.adopt({ frame() {}, fail() {}, lost() {}, turn: () => ({ bytes: 0, more: false }) });
    stream.host.send("RESET", stream.streamId, [BROKEN_OFF]);
    stream.host.release(stream.streamId, incoming);
  };
  opener.use(sessionPair({ accept: { onStream } }, { clock }).dialer);
  const near = await opener.open(TEST_OPEN, { ...never(), reopen: true });
  near.write(Buffer.alloc(INITIAL_WINDOW_BYTES));
  await clock.advance(59_000);
  expect(near.destroyed).toBe(false);
  expect(opened).toBeGreaterThan(10);
  expect(opened).toBeLessThan(100);
  await clock.advance(1_000);
  await expect(near.done).resolves.toMatchObject({ error: { code: "CC_RESUME_EXPIRED" } });
});

test("a stream that was under way when the channel fell waits for another one no longer than was asked for", async () => {
  const clock = createFakeClock();
  const deps = { clock, random: () => 0.5, secret: createCountingSecrets(1_000) };
  const opener = createStreamOpener({ graceMs: 60_000, pendingGraceMs: 1_500 }, deps);
  // No answer comes.
  const silent = { accept: { onStream: () => {} } };
  const first = sessionPair(silent, { clock });
  opener.use(first.dialer);
  const near = await opener.open(TEST_OPEN, { ...never(), reopen: true });
  await clock.settle();
  first.channel.cut();
  await clock.advance(1_499);
  const second = sessionPair(silent, { clock });
  opener.use(second.dialer);
  // It has a channel again: its answer may take its time.
  await clock.advance(20_000);
  expect(near.destroyed).toBe(false);
  second.channel.cut();
  await clock.advance(1_499);
  expect(near.destroyed).toBe(false);
  await clock.advance(1);
  await expect(near.done).resolves.toMatchObject({ error: { code: "CC_CHANNEL_LOST" } });
  expect(clock.pendingTimers).toBe(0);
});

test("a stream that found its channel dead waits for another one no longer than is left of the time for its answer", async () => {
  const clock = createFakeClock();
  const deps = { clock, random: () => 0.5, secret: createCountingSecrets(1_000) };
  const opener = createStreamOpener({ graceMs: 60_000, pendingGraceMs: 1_500, pendingMs: 1_800 }, deps);
  const silent = { accept: { onStream: () => {} } };
  const { dialer, channel } = sessionPair(silent, { clock });
  opener.use(dialer);
  await clock.advance(20_000);
  channel.stall();
  const near = await opener.open(TEST_OPEN, { ...never(), reopen: true });
  await clock.advance(1_799);
  expect(dialer.state).toBe("closed");
  expect(near.destroyed).toBe(false);
  await clock.advance(1);
  await expect(near.done).resolves.toMatchObject({ error: { code: "CC_CHANNEL_LOST" } });
  // One whose channel was lost much later gets a moment, and no more.
  const second = sessionPair(silent, { clock });
  opener.use(second.dialer);
  const late = await opener.open(TEST_OPEN, { ...never(), reopen: true });
  await clock.advance(30_000);
  second.channel.cut();
  await clock.advance(99);
  expect(late.destroyed).toBe(false);
  await clock.advance(1);
  await expect(late.done).resolves.toMatchObject({ error: { code: "CC_CHANNEL_LOST" } });
});
