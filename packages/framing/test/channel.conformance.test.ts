import { parseInstanceId, parseSessionId } from "@cluster-connect/protocol";
import { afterEach, describe, expect, test } from "vitest";
import { acceptSession, dialSession, type Session, SYSTEM_CLOCK, SYSTEM_SESSION_DEPS } from "../src/index.ts";
import {
  CHANNEL_SUITE,
  type ChannelPair,
  createIncomingQueue,
  type IncomingQueue,
  memoryChannelPair,
  openStream,
  readAll,
  webSocketPair,
} from "../src/testing/index.ts";

const CHANNELS: ReadonlyArray<readonly [name: string, make: () => Promise<ChannelPair>]> = [
  ["a channel in memory", memoryPair],
  ["a WebSocket", webSocketPair],
];

let pair: ChannelPair | undefined;
afterEach(async () => {
  await pair?.dispose();
  pair = undefined;
});

function memoryPair(): Promise<ChannelPair> {
  const { dialer, acceptor, cut } = memoryChannelPair({}, { clock: SYSTEM_CLOCK });
  return Promise.resolve({ near: dialer, far: acceptor, dispose: () => Promise.resolve(cut()) });
}

function sessionsOver(channels: ChannelPair): { dialer: Session; acceptor: Session; incoming: IncomingQueue } {
  const incoming = createIncomingQueue();
  const common = { software: "test", onStream: incoming.push };
  const acceptor = acceptSession(
    channels.far,
    {
      ...common,
      role: "relay",
      instanceId: parseInstanceId("relay-01"),
      authenticate: () => Promise.resolve({ sessionId: parseSessionId("session-1") }),
    },
    SYSTEM_SESSION_DEPS,
  );
  const dialer = dialSession(
    channels.near,
    { ...common, role: "cli", instanceId: parseInstanceId("cli-0001") },
    SYSTEM_SESSION_DEPS,
  );
  return { dialer, acceptor, incoming };
}

for (const [name, make] of CHANNELS) {
  describe(name, () => {
    for (const { name: sentence, run } of CHANNEL_SUITE) {
      test(sentence, async () => {
        pair = await make();
        await run(pair);
      });
    }

    test("carries 10,000 streams that write and close at once, both ways, and none is short", async () => {
      pair = await make();
      const { dialer, acceptor, incoming } = sessionsOver(pair);
      await acceptor.ready;
      for (let count = 0; count < 5_000; count += 1) {
        for (const opener of [dialer, acceptor]) {
          const [near, far] = await openStream(opener, incoming);
          const bytes = Buffer.alloc(count * 7, count);
          near.end(bytes);
          far.end(bytes.subarray(0, count % 97));
          const [atFar, atNear] = await Promise.all([readAll(far), readAll(near)]);
          if (!atFar.equals(bytes) || atNear.length !== count % 97) expect.fail(`stream ${count} was short`);
          await Promise.all([near.done, far.done]);
        }
      }
      expect(dialer.counters.openStreams).toBe(0);
      expect(acceptor.counters.openStreams).toBe(0);
    });

    test("carries one large stream past a hundred streams that nobody reads", async () => {
      pair = await make();
      const { dialer, acceptor, incoming } = sessionsOver(pair);
      for (let count = 0; count < 100; count += 1) {
        const [near] = await openStream(dialer, incoming);
        near.write(Buffer.alloc(1_048_576));
      }
      const [near, far] = await openStream(dialer, incoming);
      const bytes = Buffer.alloc(32 * 1_048_576, "x");
      near.end(bytes);
      expect((await readAll(far)).equals(bytes)).toBe(true);
      dialer.close();
      await acceptor.closed;
      expect(acceptor.counters.openStreams).toBe(0);
    });
  });
}
