import {
  encodeAccept,
  encodeHello,
  encodeOpen,
  encodeResume,
  encodeResumed,
  encodeU64,
  encodeWindow,
  type FrameType,
  OWN_VERSIONS,
  parseInstanceId,
  parseSecret,
  parseSessionId,
  type Role,
} from "@cluster-connect/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createDecoder } from "../src/frames/decode.ts";
import { encodeFrame } from "../src/frames/encode.ts";
import {
  acceptSession,
  createBudget,
  type Forward,
  forwardStream,
  type MessageChannel,
  type Session,
} from "../src/index.ts";
import {
  createCountingSecrets,
  createFakeClock,
  createTestSlabs,
  memoryChannelPair,
  sendMessage,
  TEST_OPEN,
} from "../src/testing/index.ts";

const KEY = parseSecret("K".repeat(43));
const AGENT = parseInstanceId("agent-01");
const OFFSETS = { received: 0, consumed: 0, windowBytes: 100 };
const OPEN = encodeOpen({ ...TEST_OPEN, windowBytes: 1_000, key: KEY, graceMs: 1_000, viaPeer: false });
const RESUME = encodeResume({
  ...OFFSETS,
  cluster: TEST_OPEN.cluster,
  instanceId: AGENT,
  key: KEY,
  attempt: 1,
  viaPeer: false,
});

const TYPES: readonly FrameType[] = [
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
  "RELAYS",
];

/** Payloads that make sense after a type, so that runs get further than the first frame. */
const SENSIBLE: Readonly<Partial<Record<FrameType, readonly Uint8Array[]>>> = {
  OPEN: [OPEN],
  RESUME: [RESUME],
  ACCEPT: [encodeAccept({ windowBytes: 500, instanceId: AGENT, graceMs: 0 })],
  RESUMED: [encodeResumed(OFFSETS)],
  DATA: [Buffer.alloc(1), Buffer.alloc(700)],
  FIN: [encodeU64(0), encodeU64(1), encodeU64(700)],
  WINDOW: [encodeWindow({ consumed: 1, windowBytes: 100 }), encodeWindow({ consumed: 701, windowBytes: 100 })],
  RESET: [Buffer.alloc(6)],
  REJECT: [Buffer.alloc(6)],
};

const frame = fc
  .constantFrom(...TYPES)
  .chain((type) =>
    fc.record({
      type: fc.constant(type),
      streamId: fc.integer({ min: 0, max: 7 }),
      payload: fc.oneof(
        { weight: 8, arbitrary: fc.constantFrom(...(SENSIBLE[type] ?? [encodeU64(1)])) },
        { weight: 1, arbitrary: fc.uint8Array({ maxLength: 30 }) },
      ),
    }),
  )
  .map(({ payload, ...rest }) => encodeFrame({ ...rest, parts: [payload] }));
/** A recording that something on the way changed: a byte, or its length. */
const bytes = fc.oneof(
  { weight: 6, arbitrary: frame },
  {
    weight: 1,
    arbitrary: fc.tuple(frame, fc.nat(), fc.nat(255)).map(([whole, at, byte]) => {
      const changed = Buffer.from(whole);
      changed[at % changed.length] = byte;
      return changed;
    }),
  },
  { weight: 1, arbitrary: fc.tuple(frame, fc.nat()).map(([whole, at]) => whole.subarray(0, at % whole.length)) },
);
const script = fc.array(fc.record({ from: fc.constantFrom("cli", "agent"), bytes }), { maxLength: 40 });

/** A relay between two peers that are lists of bytes. */
async function relayBetweenRawPeers() {
  const clock = createFakeClock();
  const buffers = createBudget(1_000_000);
  const secret = createCountingSecrets();
  const forwards: Forward[] = [];
  const accept = (role: Role, onStream?: Parameters<typeof acceptSession>[1]["onStream"]) => {
    const channel = memoryChannelPair({}, { clock });
    const session = acceptSession(
      channel.acceptor,
      {
        role: "relay",
        instanceId: parseInstanceId("relay-01"),
        software: "test",
        budgets: { buffers },
        authenticate: () => Promise.resolve({ sessionId: parseSessionId("session-1") }),
        ...(onStream === undefined ? {} : { onStream }),
      },
      { clock, secret, slabs: createTestSlabs() },
    );
    const decoder = createDecoder();
    channel.dialer.listen({
      message(message) {
        decoder.push(message);
        while (decoder.next() !== undefined);
      },
      drain() {},
      close() {},
    });
    const limits = { maxStreams: 10, maxWindowBytes: 1_000_000, hopAckEveryBytes: 100 };
    const hello = encodeHello({ versions: OWN_VERSIONS, role, instanceId: AGENT, software: "raw", limits });
    sendMessage(channel.dialer, [encodeFrame({ type: "HELLO", streamId: 0, parts: [hello] })]);
    return { session, peer: channel.dialer };
  };
  const agent = accept("agent");
  const cli = accept("cli", (incoming) => forwards.push(forwardStream(incoming, agent.session, incoming.request)));
  await clock.settle();
  return { clock, buffers, forwards, cli, agent };
}

test("whatever both peers of a relay send, at most their own session ends, and nothing is left", async () => {
  await fc.assert(
    fc.asyncProperty(script, async (steps) => {
      const { clock, buffers, forwards, cli, agent } = await relayBetweenRawPeers();
      const peers: Readonly<Record<string, { readonly session: Session; readonly peer: MessageChannel }>> = {
        cli,
        agent,
      };
      const spoke = { cli: false, agent: false };
      for (const { from, bytes: sent } of steps) {
        if (from === "cli" || from === "agent") spoke[from] = true;
        const peer = peers[from]?.peer;
        if (peer !== undefined) sendMessage(peer, [sent]);
      }
      await clock.settle();
      // A session ends for a fault of its own peer, never for one of the other peer.
      if (!spoke.cli) expect(cli.session.state).toBe("open");
      if (!spoke.agent) expect(agent.session.state).toBe("open");
      cli.session.close();
      agent.session.close();
      await Promise.all(forwards.map((forward) => forward.done));
      expect(buffers.usedBytes).toBe(0);
      expect([cli, agent].map(({ session }) => session.counters.openStreams)).toEqual([0, 0]);
      await clock.settle();
      expect(clock.pendingTimers).toBe(0);
    }),
    { numRuns: 1_500 },
  );
});
