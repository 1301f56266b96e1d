import {
  type Caller,
  decodeEnd,
  type ErrorCode,
  encodeWindow,
  INITIAL_WINDOW_BYTES,
  parseClusterId,
  parseInstanceId,
  parseSecret,
  type Resume,
} from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import {
  callerName,
  createResumeRegistry,
  createStreamOpener,
  type IncomingStream,
  type MuxStream,
} from "../../src/index.ts";
import type { StreamOpenerOptions } from "../../src/resume/opener.ts";
import { createCountingSecrets, createFakeClock, readAll, sessionPair, TEST_OPEN } from "../../src/testing/index.ts";

/** The registry's count for a stream that holds no byte. */
const STREAM_BYTES = 32_768;
const GRACE_MS = 60_000;
const AGENT = parseInstanceId("agent-01");
const KEY = parseSecret("K".repeat(43));
const ALICE: Caller = { issuer: "https://issuer.example", subject: "alice", username: "alice" };

/** An opener and a registry that meet in one session after another. */
function twoEnds(options: Pick<StreamOpenerOptions, "graceMs" | "onMissing"> = {}) {
  const clock = createFakeClock();
  const registry = createResumeRegistry({}, { clock });
  const opener = createStreamOpener(
    { ...options, graceMs: options.graceMs ?? GRACE_MS },
    { clock, random: () => 0.5, secret: createCountingSecrets(1_000) },
  );
  const taken: MuxStream[] = [];
  const onStream = (incoming: IncomingStream): void => {
    const stream = registry.answer(incoming, { instanceId: AGENT, graceMs: GRACE_MS });
    if (stream !== undefined) taken.push(stream);
  };
  async function connect() {
    const pair = sessionPair({ accept: { onStream } }, { clock });
    await pair.dialer.ready;
    return pair;
  }
  async function open() {
    const near = await opener.open(TEST_OPEN, { signal: new AbortController().signal });
    await near.accepted;
    const far = taken[0];
    if (far === undefined) throw new Error("the stream was not taken");
    return [near, far] as const;
  }
  return { clock, registry, opener, taken, connect, open };
}

test("a stream goes on over another channel without a lost or repeated byte", async () => {
  const { clock, opener, registry, connect, open } = twoEnds();
  const first = await connect();
  opener.use(first.dialer);
  const [near, far] = await open();
  const up = Buffer.alloc(1_000_000, "abcdefghijk");
  near.write(up.subarray(0, 600_000));
  await clock.settle();
  first.channel.cut();
  near.end(up.subarray(600_000));
  await clock.advance(10_000);
  expect(opener.counters).toMatchObject({ streams: 1, suspended: 1, retainedBytes: 600_000 });
  opener.use((await connect()).dialer);
  expect((await readAll(far)).equals(up)).toBe(true);
  far.end("done");
  expect((await readAll(near)).toString()).toBe("done");
  await Promise.all([near.done, far.done]);
  expect(registry.counters).toEqual({ streams: 0, suspended: 0, retainedBytes: 0 });
});

test("a suspended stream keeps one window, and what its writer had at hand when it was held back", async () => {
  const { clock, opener, connect, open } = twoEnds();
  const first = await connect();
  opener.use(first.dialer);
  const [near] = await open();
  const chunk = Buffer.alloc(65_536);
  let written = 0;
  const writeWhileThereIsRoom = async (): Promise<void> => {
    while (!near.writableNeedDrain) {
      near.write(chunk);
      written += chunk.length;
      await clock.settle();
    }
  };
  await writeWhileThereIsRoom();
  first.channel.cut();
  await clock.settle();
  await writeWhileThereIsRoom();
  expect(near.bytesSent).toBe(INITIAL_WINDOW_BYTES);
  // The chunk that has no credit is kept for the channel, the one behind it waits in the stream itself.
  expect(written).toBe(INITIAL_WINDOW_BYTES + 2 * chunk.length);
  expect(near.endpoint.retainedBytes).toBe(INITIAL_WINDOW_BYTES + chunk.length);
});

test("without a new channel both ends learn that the grace time is over", async () => {
  const { clock, opener, connect, open } = twoEnds();
  const first = await connect();
  opener.use(first.dialer);
  const [near, far] = await open();
  first.channel.cut();
  await clock.advance(GRACE_MS - 1);
  expect([near.destroyed, far.destroyed]).toEqual([false, false]);
  await clock.advance(1);
  await expect(near.done).resolves.toMatchObject({ error: { code: "CC_RESUME_EXPIRED" } });
  await expect(far.done).resolves.toMatchObject({ error: { code: "CC_RESUME_EXPIRED" } });
});

test("an agent that was restarted no longer knows the stream, and the opener learns it", async () => {
  const { clock, opener, open, connect } = twoEnds();
  const first = await connect();
  opener.use(first.dialer);
  const [near] = await open();
  first.channel.cut();
  await clock.settle();
  const other = createResumeRegistry({}, { clock });
  const onStream = (incoming: IncomingStream) => void other.answer(incoming, { instanceId: AGENT });
  opener.use(sessionPair({ accept: { onStream } }, { clock }).dialer);
  await expect(near.done).resolves.toMatchObject({ error: { code: "CC_RESUME_UNKNOWN" } });
});

test("an agent that is not there yet is asked again until it is, and that is said once", async () => {
  const missing: string[] = [];
  const { clock, opener, connect, open } = twoEnds({ onMissing: (_, { cluster }) => missing.push(cluster) });
  const first = await connect();
  opener.use(first.dialer);
  const [near, far] = await open();
  first.channel.cut();
  await clock.settle();
  let refusals = 0;
  const onStream = (incoming: IncomingStream) => {
    refusals += 1;
    incoming.reject("CC_AGENT_OFFLINE", "not yet");
  };
  opener.use(sessionPair({ accept: { onStream } }, { clock }).dialer);
  await clock.advance(1_000);
  expect(refusals).toBeGreaterThan(1);
  expect(missing).toEqual([TEST_OPEN.cluster]);
  expect(near.destroyed).toBe(false);
  opener.use((await connect()).dialer);
  near.end("at last");
  expect((await readAll(far)).toString()).toBe("at last");
});

test("streams move to a session that is ready while the old one still drains", async () => {
  const { clock, opener, connect, open } = twoEnds();
  const first = await connect();
  opener.use(first.dialer);
  const [near, far] = await open();
  near.write("before ");
  await clock.settle();
  const drained = first.acceptor.drain({ deadlineMs: 30_000 });
  await clock.settle();
  const second = await connect();
  opener.use(second.dialer);
  near.end("after");
  expect((await readAll(far)).toString()).toBe("before after");
  await clock.advance(2_000);
  await drained;
  expect(first.dialer.counters.openStreams).toBe(0);
  expect(second.dialer.counters.openStreams).toBe(1);
});

test("a stream that was moved to where nobody knows the agent ends when its grace time is over", async () => {
  const { clock, opener, connect, open } = twoEnds();
  opener.use((await connect()).dialer);
  const [near] = await open();
  const onStream = (incoming: IncomingStream) => incoming.reject("CC_AGENT_OFFLINE", "not here");
  opener.use(sessionPair({ accept: { onStream } }, { clock }).dialer);
  await clock.advance(GRACE_MS - 1_000);
  expect(near.destroyed).toBe(false);
  await clock.advance(1_000);
  await expect(near.done).resolves.toMatchObject({ error: { code: "CC_RESUME_EXPIRED" } });
});

test("an open waits for a session, and for the next one when this one drains", async () => {
  const { clock, opener, taken, connect } = twoEnds();
  const opening = opener.open(TEST_OPEN, { signal: new AbortController().signal });
  await clock.settle();
  expect(taken).toHaveLength(0);
  const first = await connect();
  opener.use(first.dialer);
  await (await opening).accepted;
  first.acceptor.goaway();
  await clock.settle();
  const next = opener.open(TEST_OPEN, { signal: new AbortController().signal });
  const second = await connect();
  opener.use(second.dialer);
  await expect((await next).accepted).resolves.toMatchObject({ instanceId: AGENT });
});

test("an open that is given up while it waits rejects with the reason", async () => {
  const { opener } = twoEnds();
  const abort = new AbortController();
  const opening = opener.open(TEST_OPEN, { signal: abort.signal });
  abort.abort(new Error("gone"));
  await expect(opening).rejects.toThrow("gone");
});

test.each([
  [true, "is opened again, with every byte"],
  [false, "ends with CC_CHANNEL_LOST"],
])("a stream that was never answered, reopen %s: %s", async (reopen) => {
  const { clock, opener, taken, connect } = twoEnds();
  const deaf = sessionPair({ accept: { onStream: () => {} } }, { clock });
  await deaf.dialer.ready;
  opener.use(deaf.dialer);
  const near = await opener.open(TEST_OPEN, { signal: new AbortController().signal, reopen });
  near.end("hello");
  await clock.settle();
  deaf.channel.cut();
  await clock.settle();
  opener.use((await connect()).dialer);
  await clock.settle();
  if (reopen) expect(taken[0]?.read()?.toString()).toBe("hello");
  else await expect(near.done).resolves.toMatchObject({ error: { code: "CC_CHANNEL_LOST" } });
});

test.each(["CC_STREAM_RESET", "CC_UPSTREAM_UNREACHABLE", "CC_DRAINING"] as const)(
  "a stream that ended with %s while its opener was away ends there as soon as it asks",
  async (code) => {
    const { clock, opener, connect, open } = twoEnds();
    const first = await connect();
    opener.use(first.dialer);
    const [near, far] = await open();
    first.channel.cut();
    await clock.settle();
    far.reset(code, "the upstream broke off");
    opener.use((await connect()).dialer);
    await clock.settle();
    expect(near.destroyed).toBe(true);
    await expect(near.done).resolves.toMatchObject({ error: { code } });
  },
);

test("a session that an administrator ends takes its streams with it", async () => {
  const { opener, connect, open } = twoEnds();
  const first = await connect();
  opener.use(first.dialer);
  const [near] = await open();
  first.acceptor.close("CC_SESSION_ENDED", "ended");
  await expect(near.done).resolves.toMatchObject({ error: { code: "CC_SESSION_ENDED" } });
});

test("a stream whose both directions ended is not an error when only the last acknowledgement was lost", async () => {
  const { clock, opener, connect, open } = twoEnds();
  const first = await connect();
  opener.use(first.dialer);
  const [near, far] = await open();
  far.end();
  near.resume();
  far.resume();
  await clock.settle();
  near.end("last words");
  // The agent's acknowledgement of FIN stays on the way.
  await new Promise((resolve) => queueMicrotask(() => resolve(undefined)));
  first.channel.stall();
  await clock.advance(20_000);
  opener.use((await connect()).dialer);
  await clock.advance(1_000);
  await expect(near.done).resolves.toEqual({ kind: "finished" });
});

/** A stream that is held, and RESUMEs made by hand. @param options `ended` lets both directions end before. */
async function heldStream(options: { readonly ended?: boolean } = {}) {
  const clock = createFakeClock();
  const registry = createResumeRegistry({}, { clock });
  const answered: MuxStream[] = [];
  const onStream = (incoming: IncomingStream) => {
    const stream = registry.answer(incoming, { instanceId: AGENT, graceMs: GRACE_MS });
    if (stream !== undefined) answered.push(stream);
  };
  const { dialer, channel } = sessionPair({ accept: { onStream } }, { clock });
  const near = dialer.open({ ...TEST_OPEN, key: KEY, graceMs: GRACE_MS, caller: ALICE });
  await near.accepted;
  near.write("12345");
  await clock.settle();
  if (options.ended === true) {
    for (const end of [near, ...answered]) end.resume().end();
    await Promise.all([near.done, answered[0]?.done]);
  }
  channel.cut();
  await clock.settle();
  async function resume(change: Partial<Resume>): Promise<ErrorCode | "resumed"> {
    const second = sessionPair({ accept: { onStream } }, { clock });
    const outcome = Promise.withResolvers<ErrorCode | "resumed">();
    const wanted: Resume = {
      cluster: TEST_OPEN.cluster,
      instanceId: AGENT,
      key: KEY,
      attempt: 1,
      received: 0,
      consumed: 0,
      windowBytes: INITIAL_WINDOW_BYTES,
      viaPeer: false,
      caller: ALICE,
      ...change,
    };
    const stream = second.dialer.open(TEST_OPEN);
    stream.destroy();
    second.dialer.addMember(
      {
        frame: ({ type, payload }) => {
          if (type === "RESUMED") outcome.resolve("resumed");
          if (type === "REJECT" || type === "RESET") outcome.resolve(codeOf(payload));
        },
        fail: () => {},
        lost: () => {},
        turn: () => ({ bytes: 0, more: false }),
      },
      { kind: "resume", resume: wanted },
    );
    return await outcome.promise;
  }
  return { clock, registry, far: () => answered[0], resume };
}

function codeOf(payload: Uint8Array): ErrorCode {
  return decodeEnd(payload).code ?? "CC_STREAM_RESET";
}

test("the right key, caller and cluster resume a stream", async () => {
  const { resume } = await heldStream();
  expect(await resume({})).toBe("resumed");
});

test.each<readonly [string, Partial<Resume>, ErrorCode]>([
  ["another key", { key: parseSecret("X".repeat(43)) }, "CC_RESUME_UNKNOWN"],
  ["another subject", { caller: { ...ALICE, subject: "mallory" } }, "CC_RESUME_UNKNOWN"],
  ["another issuer", { caller: { ...ALICE, issuer: "https://other.example" } }, "CC_RESUME_UNKNOWN"],
  ["another cluster", { cluster: parseClusterId("other") }, "CC_RESUME_UNKNOWN"],
  ["another upstream", { upstream: "other" }, "CC_RESUME_UNKNOWN"],
  ["more bytes received than were sent", { received: 6, consumed: 0 }, "CC_RESUME_GAP"],
])("%s does not", async (_name, change, code) => {
  const { resume } = await heldStream();
  expect(await resume(change)).toBe(code);
});

test("a RESUME that is older than the last does not undo it", async () => {
  const { resume } = await heldStream();
  expect(await resume({ attempt: 3 })).toBe("resumed");
  expect(await resume({ attempt: 2 })).toBe("CC_SUPERSEDED");
  expect(await resume({ attempt: 3 })).toBe("CC_SUPERSEDED");
});

test("an opener that acknowledges bytes before they were sent to it again has its stream reset", async () => {
  const clock = createFakeClock();
  const registry = createResumeRegistry({}, { clock });
  const onStream = (incoming: IncomingStream) => {
    registry.answer(incoming, { instanceId: AGENT, graceMs: GRACE_MS })?.write("12345");
  };
  const first = sessionPair({ accept: { onStream } }, { clock });
  await first.dialer.open({ ...TEST_OPEN, key: KEY, graceMs: GRACE_MS }).accepted;
  await clock.settle();
  first.channel.cut();
  await clock.settle();
  const second = sessionPair({ accept: { onStream } }, { clock });
  const reset = Promise.withResolvers<ErrorCode>();
  const member = {
    frame: ({ type, payload }: { readonly type: string; readonly payload: Uint8Array }) => {
      if (type === "RESET") reset.resolve(codeOf(payload));
    },
    fail: () => {},
    lost: () => {},
    turn: () => ({ bytes: 0, more: false }),
  };
  const { cluster } = TEST_OPEN;
  const offsets = { received: 0, consumed: 0, windowBytes: INITIAL_WINDOW_BYTES };
  const resume = { ...offsets, cluster, instanceId: AGENT, key: KEY, attempt: 1, viaPeer: false };
  const { host, streamId } = second.dialer.addMember(member, { kind: "resume", resume });
  // In the same message, before the agent has sent a byte again.
  host.send("WINDOW", streamId, [encodeWindow({ consumed: 3, windowBytes: INITIAL_WINDOW_BYTES })]);
  expect(await reset.promise).toBe("CC_FLOW_CONTROL");
});

test("a late RESUME learns how the stream ended meanwhile", async () => {
  const { resume, far, clock } = await heldStream();
  far()?.reset("CC_UPSTREAM_UNREACHABLE", "the auth proxy is gone");
  await clock.settle();
  expect(await resume({})).toBe("CC_UPSTREAM_UNREACHABLE");
  expect(await resume({ caller: { ...ALICE, subject: "mallory" } })).toBe("CC_RESUME_UNKNOWN");
  await clock.advance(GRACE_MS);
  expect(await resume({})).toBe("CC_RESUME_UNKNOWN");
});

test("a RESUME after both directions ended learns that nothing is missing", async () => {
  const { resume } = await heldStream({ ended: true });
  expect(await resume({})).toBe("CC_STREAM_FINISHED");
  expect(await resume({ caller: { ...ALICE, subject: "mallory" } })).toBe("CC_RESUME_UNKNOWN");
});

test("a key that is used for a second stream is refused", async () => {
  const { clock, registry } = await heldStream();
  const onStream = (incoming: IncomingStream) => void registry.answer(incoming, { instanceId: AGENT, graceMs: 1 });
  const { dialer } = sessionPair({ accept: { onStream } }, { clock });
  const second = dialer.open({ ...TEST_OPEN, key: KEY, graceMs: GRACE_MS, caller: ALICE });
  await expect(second.accepted).rejects.toMatchObject({ code: "CC_PROTOCOL" });
});

test("closing leaves no stream and no timer", async () => {
  const { clock, registry, far } = await heldStream();
  registry.close();
  await expect(far()?.done).resolves.toMatchObject({ error: { code: "CC_SESSION_CLOSED" } });
  await clock.settle();
  expect(registry.counters.streams).toBe(0);
});

test("a caller whose streams wait in great number makes room for those of others", async () => {
  const clock = createFakeClock();
  const registry = createResumeRegistry({ maxSuspendedBytes: 4 * STREAM_BYTES }, { clock });
  const taken: MuxStream[] = [];
  const onStream = (incoming: IncomingStream) => {
    const stream = registry.answer(incoming, { instanceId: AGENT, graceMs: GRACE_MS });
    if (stream !== undefined) taken.push(stream);
  };
  const lose = async (caller: Caller, count: number) => {
    const { dialer, channel } = sessionPair({ accept: { onStream } }, { clock });
    const request = { ...TEST_OPEN, graceMs: GRACE_MS, caller };
    // Each session counts its secrets from the start, and a key is used once.
    const secret = createCountingSecrets(taken.length + 1_000);
    for (let n = 0; n < count; n += 1) await dialer.open({ ...request, key: secret() }).accepted;
    channel.cut();
    await clock.settle();
  };
  await lose({ ...ALICE, subject: "eve" }, 6);
  await lose(ALICE, 3);
  const waiting = taken.map(({ endpoint }) => endpoint.suspended);
  expect(waiting).toEqual([false, false, true, true, false, false, true, true, false]);
  await expect(taken[0]?.done).resolves.toMatchObject({ error: { code: "CC_RESUME_FULL" } });
  await expect(taken[8]?.done).resolves.toMatchObject({ error: { code: "CC_RESUME_FULL" } });
  expect(registry.counters).toMatchObject({ streams: 4, suspended: 4 });
  registry.close();
});

test("streams wait for their opener up to a number of bytes, and one that does not is told so by its first RESUME", async () => {
  const clock = createFakeClock();
  // Three streams, one of which holds 100,000 bytes; one byte less, and the last one finds no room.
  const enough = 3 * STREAM_BYTES + 100_000;
  for (const maxSuspendedBytes of [enough, enough - 1]) {
    const registry = createResumeRegistry({ maxSuspendedBytes }, { clock });
    const taken: MuxStream[] = [];
    const accept = {
      onStream(incoming: IncomingStream) {
        const stream = registry.answer(incoming, { instanceId: AGENT, graceMs: GRACE_MS });
        if (stream !== undefined) taken.push(stream);
      },
    };
    const secret = createCountingSecrets(maxSuspendedBytes);
    const opener = createStreamOpener({ graceMs: GRACE_MS }, { clock, random: () => 0.5, secret });
    const { dialer, channel } = sessionPair({ accept }, { clock });
    opener.use(dialer);
    const signal = new AbortController().signal;
    const open = async (): Promise<MuxStream> => await opener.open(TEST_OPEN, { signal });
    const near = [await open(), await open(), await open()];
    await Promise.all(near.map((stream) => stream.accepted));
    taken[0]?.write(Buffer.alloc(100_000));
    await clock.settle();
    channel.cut();
    await clock.settle();
    const isKept = maxSuspendedBytes === enough;
    expect(registry.counters).toMatchObject({ suspended: isKept ? 3 : 2 });
    opener.use(sessionPair({ accept }, { clock }).dialer);
    await clock.advance(1_000);
    expect(near.map(({ destroyed }) => destroyed)).toEqual([false, false, !isKept]);
    if (!isKept) await expect(near[2]?.done).resolves.toMatchObject({ error: { code: "CC_RESUME_FULL" } });
    opener.close();
    registry.reset("CC_SESSION_CLOSED", "over");
    registry.close();
  }
});

test.each([
  [1_999, "waits before it moves again", true],
  [2_000, "moves again at once", false],
])("a stream that is broken off %d ms after it moved %s", async (afterMs, _what, waits) => {
  const { clock, opener, connect, open } = twoEnds();
  const first = await connect();
  opener.use(first.dialer);
  const [near, far] = await open();
  first.channel.cut();
  await clock.settle();
  opener.use((await connect()).dialer);
  await clock.settle();
  await clock.advance(afterMs);
  expect(near.endpoint.suspended).toBe(false);
  far.endpoint.detach("CC_CHANNEL_LOST", "the relay holds too much");
  await clock.advance(0);
  expect(near.endpoint.suspended).toBe(waits);
  await clock.advance(200);
  expect(near.endpoint.suspended).toBe(false);
  opener.close();
});

test("the registry counts the bytes that its streams hold, and ends them all by one code", async () => {
  const { clock, opener, registry, taken, connect, open } = twoEnds();
  opener.use((await connect()).dialer);
  const nears = [(await open())[0], (await open())[0]];
  // Nobody reads at the other end, so all that has credit stays held here.
  for (const near of nears) near.pause();
  taken.forEach((far, index) => void far.write(Buffer.alloc(1_000 * (index + 1))));
  await clock.settle();
  expect(registry.counters).toEqual({ streams: 2, suspended: 0, retainedBytes: 3_000 });
  expect([...registry.heldByCaller()]).toEqual([[callerName(undefined), 3_000]]);
  registry.reset("CC_DRAINING", "The agent stops");
  const ends = await Promise.all([...nears, ...taken].map(({ done }) => done));
  expect(ends).toEqual(
    ends.map(() => expect.objectContaining({ error: expect.objectContaining({ code: "CC_DRAINING" }) })),
  );
  expect(registry.counters).toEqual({ streams: 0, suspended: 0, retainedBytes: 0 });
});

test("a stream that has come back lives on past its grace, and leaves no timer when it ends", async () => {
  const { clock, opener, registry, connect, open } = twoEnds();
  const first = await connect();
  opener.use(first.dialer);
  const [near, far] = await open();
  first.channel.cut();
  await clock.advance(GRACE_MS - 1_000);
  const second = await connect();
  opener.use(second.dialer);
  await clock.advance(2 * GRACE_MS);
  expect([near.destroyed, far.destroyed, registry.counters.suspended]).toEqual([false, false, 0]);
  near.destroy();
  await far.done;
  second.dialer.close();
  registry.close();
  await clock.settle();
  expect(clock.pendingTimers).toBe(0);
});

test("a session that ends for good takes its streams at the agent with it, at once", async () => {
  const { clock, opener, registry, connect, open } = twoEnds();
  const first = await connect();
  opener.use(first.dialer);
  const [near, far] = await open();
  first.dialer.close("CC_AGENT_KEY_REFUSED", "revoked");
  await expect(far.done).resolves.toMatchObject({ error: { code: "CC_AGENT_KEY_REFUSED" } });
  await near.done;
  expect(registry.counters).toEqual({ streams: 0, suspended: 0, retainedBytes: 0 });
  registry.close();
  await clock.settle();
  expect(clock.pendingTimers).toBe(0);
});
