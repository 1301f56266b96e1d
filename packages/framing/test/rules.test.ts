import {
  ConnectError,
  decodeEnd,
  decodeGoaway,
  type ErrorCode,
  encodeHello,
  encodeOpen,
  encodeReady,
  encodeU64,
  encodeWindow,
  type FrameType,
  INITIAL_WINDOW_BYTES,
  OWN_VERSIONS,
  parseInstanceId,
  parseSecret,
  parseSessionId,
} from "@cluster-connect/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createDecoder, type Frame } from "../src/frames/decode.ts";
import { encodeFrame } from "../src/frames/encode.ts";
import {
  acceptSession,
  createBudget,
  dialSession,
  type MuxStream,
  type Session,
  type SessionBudgets,
} from "../src/index.ts";
import {
  createCountingSecrets,
  createFakeClock,
  createTestSlabs,
  memoryChannelPair,
  sendMessage,
  sessionPair,
  TEST_OPEN,
} from "../src/testing/index.ts";

const HELLO = {
  versions: OWN_VERSIONS,
  role: "cli" as const,
  instanceId: parseInstanceId("cli-0001"),
  software: "test",
  limits: { maxStreams: 10, maxWindowBytes: INITIAL_WINDOW_BYTES, hopAckEveryBytes: 131_072 },
};
const OPEN = encodeOpen({
  ...TEST_OPEN,
  windowBytes: INITIAL_WINDOW_BYTES,
  key: parseSecret("A".repeat(43)),
  graceMs: 0,
  viaPeer: false,
});

/** An acceptor that takes every stream, and a dialer that is a list of bytes. */
async function rawPeer(
  options: { readonly greet?: boolean; readonly maxStreams?: number; readonly budgets?: SessionBudgets } = {},
) {
  const clock = createFakeClock();
  const channel = memoryChannelPair({}, { clock });
  const frames: Frame[] = [];
  const streams: MuxStream[] = [];
  const session: Session = acceptSession(
    channel.acceptor,
    {
      role: "relay",
      instanceId: parseInstanceId("relay-01"),
      software: "test",
      limits: { maxStreams: options.maxStreams ?? 1_000 },
      ...(options.budgets === undefined ? {} : { budgets: options.budgets }),
      authenticate: () => Promise.resolve({ sessionId: parseSessionId("session-1") }),
      onStream: (incoming) => {
        if (incoming.request.kind === "open") streams.push(incoming.accept({ instanceId: HELLO.instanceId }));
        else incoming.reject("CC_RESUME_UNKNOWN", "unknown");
      },
    },
    { clock, secret: createCountingSecrets(), slabs: createTestSlabs() },
  );
  const decoder = createDecoder();
  channel.dialer.listen({
    message(bytes) {
      decoder.push(bytes);
      for (let frame = decoder.next(); frame !== undefined; frame = decoder.next()) frames.push(frame);
    },
    drain() {},
    close() {},
  });
  const send = async (type: FrameType, streamId: number, payload: Uint8Array): Promise<void> => {
    sendMessage(channel.dialer, [encodeFrame({ type, streamId, parts: [payload] })]);
    await clock.settle();
  };
  if (options.greet !== false) await send("HELLO", 0, encodeHello(HELLO));
  const last = (type: FrameType): Frame => {
    const found = frames.findLast((frame) => frame.type === type);
    if (found === undefined) throw new Error(`no ${type} came`);
    return found;
  };
  const resetCode = (): ErrorCode | undefined => decodeEnd(last("RESET").payload).code;
  return { clock, channel, session, streams, frames, send, last, resetCode };
}

test("the first frame after HELLO's turn must be HELLO", async () => {
  const { session, send, last } = await rawPeer({ greet: false });
  await send("PING", 0, encodeU64(1));
  await expect(session.closed).resolves.toMatchObject({ code: "CC_PROTOCOL", by: "local" });
  expect(decodeGoaway(last("GOAWAY").payload).code).toBe("CC_PROTOCOL");
});

test("a peer of another minor version is refused by name", async () => {
  const { session, send } = await rawPeer({ greet: false });
  await send("HELLO", 0, encodeHello({ ...HELLO, versions: { minor: 9, oldestMinor: 8 } }));
  await expect(session.closed).resolves.toMatchObject({ code: "CC_VERSION_UNSUPPORTED" });
});

test("a dialer that says nothing is let go after the handshake's time", async () => {
  const { session, clock } = await rawPeer({ greet: false });
  await clock.advance(10_000);
  await expect(session.ready).rejects.toMatchObject({ code: "CC_TIMEOUT" });
  expect(clock.pendingTimers).toBe(0);
});

test("PING is answered with its number", async () => {
  const { send, last } = await rawPeer();
  await send("PING", 0, encodeU64(42));
  expect(last("PONG").payload).toEqual(new Uint8Array(encodeU64(42)));
});

test("an opener may send what its OPEN says unasked, and one byte more resets the stream", async () => {
  const { send, resetCode, streams } = await rawPeer({ budgets: { buffers: createBudget(1_000_000) } });
  const saying = { ...TEST_OPEN, windowBytes: 1, unaskedBytes: 50_000, key: parseSecret("A".repeat(43)), graceMs: 0 };
  await send("OPEN", 1, encodeOpen({ ...saying, viaPeer: false }));
  await send("DATA", 1, Buffer.alloc(50_000));
  expect(streams[0]?.destroyed).toBe(false);
  await send("DATA", 1, Buffer.alloc(1));
  expect(resetCode()).toBe("CC_FLOW_CONTROL");
});

test("openers that say no number may exceed the budget together: those that hold the most are reset", async () => {
  const buffers = createBudget(1_000_000);
  const { send, resetCode, streams } = await rawPeer({ budgets: { buffers } });
  for (let id = 1; id < 16; id += 2) {
    await send("OPEN", id, OPEN);
    for (let sent = 0; sent < INITIAL_WINDOW_BYTES; sent += 65_536) await send("DATA", id, Buffer.alloc(65_536));
  }
  expect(streams.filter(({ destroyed }) => destroyed).length).toBeGreaterThan(2);
  expect(resetCode()).toBe("CC_LIMIT_REACHED");
  expect(buffers.usedBytes).toBeLessThanOrEqual(1_000_000 + 65_536);
});

test("more bytes than credit reset that stream, not the session", async () => {
  const { session, send, resetCode, streams } = await rawPeer();
  await send("OPEN", 1, OPEN);
  await send("OPEN", 3, OPEN);
  for (let sent = 0; sent < INITIAL_WINDOW_BYTES; sent += 65_536) await send("DATA", 1, Buffer.alloc(65_536));
  expect(streams[0]?.destroyed).toBe(false);
  await send("DATA", 1, Buffer.alloc(1));
  expect(resetCode()).toBe("CC_FLOW_CONTROL");
  await send("DATA", 3, Buffer.from("fine"));
  expect(String(streams[1]?.read())).toBe("fine");
  expect(session.state).toBe("open");
});

test.each<readonly [string, FrameType, Uint8Array]>([
  ["DATA after FIN", "DATA", Buffer.from("x")],
  ["a second FIN elsewhere", "FIN", encodeU64(9)],
  ["a second ACCEPT", "ACCEPT", Buffer.from('{"windowBytes":1,"instanceId":"agent-01","graceMs":0}')],
  ["RESUMED for a stream that was not resumed", "RESUMED", Buffer.from('{"received":0,"consumed":0,"windowBytes":1}')],
])("%s resets the stream with CC_STREAM_STATE", async (_name, type, payload) => {
  const { session, send, resetCode } = await rawPeer();
  await send("OPEN", 1, OPEN);
  await send("FIN", 1, encodeU64(0));
  await send(type, 1, payload);
  expect(resetCode()).toBe("CC_STREAM_STATE");
  expect(session.counters.openStreams).toBe(0);
  expect(session.state).toBe("open");
});

test("a WINDOW that consumed more than was sent resets the stream with CC_FLOW_CONTROL", async () => {
  const { send, resetCode } = await rawPeer();
  await send("OPEN", 1, OPEN);
  await send("WINDOW", 1, encodeWindow({ consumed: 1, windowBytes: 1 }));
  expect(resetCode()).toBe("CC_FLOW_CONTROL");
});

test("a frame for a stream that was never opened ends the session", async () => {
  const { session, send } = await rawPeer();
  await send("DATA", 7, Buffer.from("x"));
  await expect(session.closed).resolves.toMatchObject({ code: "CC_PROTOCOL" });
});

test("a frame for a stream that is over is dropped", async () => {
  const { session, send } = await rawPeer();
  await send("OPEN", 1, OPEN);
  await send("RESET", 1, Buffer.alloc(6));
  await send("DATA", 1, Buffer.from("late"));
  expect(session.state).toBe("open");
});

test.each([
  ["of the other side", 2],
  ["that does not grow", 3],
])("an OPEN with an id %s ends the session", async (_name, id) => {
  const { session, send } = await rawPeer();
  await send("OPEN", 3, OPEN);
  await send("OPEN", id, OPEN);
  await expect(session.closed).resolves.toMatchObject({ code: "CC_PROTOCOL" });
});

test("one stream more than the limit is refused, and room that comes back is used", async () => {
  const { send, last, streams } = await rawPeer({ maxStreams: 1 });
  await send("OPEN", 1, OPEN);
  await send("OPEN", 3, OPEN);
  expect(decodeEnd(last("REJECT").payload).code).toBe("CC_LIMIT_REACHED");
  await send("RESET", 1, Buffer.alloc(6));
  await send("OPEN", 5, OPEN);
  expect(streams).toHaveLength(2);
});

test("an OPEN that cannot be read refuses the stream, not the session", async () => {
  const { session, send, last } = await rawPeer();
  await send("OPEN", 1, Buffer.from("{}"));
  expect(decodeEnd(last("REJECT").payload).code).toBe("CC_FRAME_INVALID");
  expect(session.state).toBe("open");
});

test("DATA is acknowledged on the hop each time the agreed bytes came", async () => {
  const { send, frames } = await rawPeer();
  await send("OPEN", 1, OPEN);
  for (let sent = 0; sent < INITIAL_WINDOW_BYTES; sent += 32_768) await send("DATA", 1, Buffer.alloc(32_768));
  expect(frames.filter((frame) => frame.type === "HOPACK")).toHaveLength(2);
});

test("a peer that asks and never reads is not read from for ever", async () => {
  const { channel, clock, session } = await rawPeer();
  channel.stall();
  const pings = Buffer.concat(
    Array.from({ length: 3_000 }, () => encodeFrame({ type: "PING", streamId: 0, parts: [encodeU64(1)] })),
  );
  channel.unstall();
  channel.dialer.pause();
  for (let round = 0; round < 100; round += 1) sendMessage(channel.dialer, [pings]);
  await clock.settle();
  expect(session.state).toBe("open");
});

/** A dialer, and an acceptor that is a list of frames. */
async function rawAcceptor(frames: ReadonlyArray<readonly [FrameType, Uint8Array]>) {
  const clock = createFakeClock();
  const channel = memoryChannelPair({}, { clock });
  const options = { role: "cli", instanceId: HELLO.instanceId, software: "test" } as const;
  const session = dialSession(channel.dialer, options, {
    clock,
    secret: createCountingSecrets(),
    slabs: createTestSlabs(),
  });
  channel.acceptor.listen({ message() {}, drain() {}, close() {} });
  for (const [type, payload] of frames) {
    sendMessage(channel.acceptor, [encodeFrame({ type, streamId: 0, parts: [payload] })]);
    await clock.settle();
  }
  return { clock, session };
}

const READY = { sessionId: parseSessionId("session-1"), minor: 0 };

test.each<readonly [string, ErrorCode, ReadonlyArray<readonly [FrameType, Uint8Array]>]>([
  ["READY before HELLO", "CC_PROTOCOL", [["READY", encodeReady(READY)]]],
  [
    "a second HELLO",
    "CC_PROTOCOL",
    [
      ["HELLO", encodeHello(HELLO)],
      ["HELLO", encodeHello(HELLO)],
    ],
  ],
  [
    "a second READY",
    "CC_PROTOCOL",
    [
      ["HELLO", encodeHello(HELLO)],
      ["READY", encodeReady(READY)],
      ["READY", encodeReady(READY)],
    ],
  ],
  [
    "READY with a minor version that was not agreed",
    "CC_VERSION_UNSUPPORTED",
    [
      ["HELLO", encodeHello(HELLO)],
      ["READY", encodeReady({ ...READY, minor: 1 })],
    ],
  ],
  ["a HELLO that cannot be read", "CC_FRAME_INVALID", [["HELLO", Buffer.from("{}")]]],
])("%s ends the dialer's session with %s", async (_name, code, frames) => {
  const { session, clock } = await rawAcceptor(frames);
  await expect(session.closed).resolves.toMatchObject({ code, by: "local" });
  expect(clock.pendingTimers).toBe(0);
});

test("a dialer whose proof fails says why and ends", async () => {
  const prove = () => Promise.reject(new ConnectError("CC_FILE_UNREADABLE", "the key cannot be read"));
  const { dialer } = sessionPair({ dial: { prove } }, { clock: createFakeClock() });
  await expect(dialer.ready).rejects.toMatchObject({ code: "CC_FILE_UNREADABLE" });
});

test("whatever a peer sends, at most its session ends", async () => {
  const frame = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc
      .record({
        type: fc.constantFrom<FrameType>(
          "OPEN",
          "ACCEPT",
          "REJECT",
          "RESUME",
          "RESUMED",
          "DATA",
          "WINDOW",
          "FIN",
          "RESET",
          "PING",
          "PONG",
          "GOAWAY",
          "HOPACK",
          "HELLO",
          "READY",
        ),
        streamId: fc.integer({ min: 0, max: 6 }),
        payload: fc.oneof(fc.constant(OPEN), fc.uint8Array({ maxLength: 24 })),
      })
      .map(({ payload, ...rest }) => encodeFrame({ ...rest, parts: [payload] })),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(frame, { maxLength: 25 }), async (list) => {
      const { session, channel, clock, streams } = await rawPeer();
      for (const bytes of list) sendMessage(channel.dialer, [bytes]);
      await clock.settle();
      session.close();
      await session.closed;
      expect(session.counters.openStreams).toBe(0);
      expect(streams.every((stream) => stream.destroyed)).toBe(true);
      expect(clock.pendingTimers).toBe(0);
    }),
    { numRuns: 300 },
  );
});
