import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { SYSTEM_CLOCK } from "@cluster-connect/base";
import { parseInstanceId, parseSessionId, SUBPROTOCOL } from "@cluster-connect/protocol";
import { selfSigned } from "@cluster-connect/testkit";
import { afterEach, describe, expect, test } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { acceptSession, createSessionDeps, dialSession, type MessageChannel, type Session } from "../src/index.ts";
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
import { acceptWebSocket, dialWebSocket } from "../src/ws/index.ts";
import { libraryChannel } from "./ws/library-channel.ts";

const CHANNELS: ReadonlyArray<readonly [name: string, make: () => Promise<ChannelPair>]> = [
  ["a channel in memory", memoryPair],
  ["a WebSocket", () => webSocketPair()],
  ["a WebSocket over TLS", async () => webSocketPair({ certificate: await selfSigned({ name: "localhost" }) })],
  ["a WebSocket over TLS, from the other side", turnedPair],
  ["a WebSocket that the library ws accepted", () => libraryPair("acceptor")],
  ["a WebSocket that the library ws dialed", () => libraryPair("dialer")],
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

async function turnedPair(): Promise<ChannelPair> {
  const { near, far, dispose } = await webSocketPair({ certificate: await selfSigned({ name: "localhost" }) });
  return { near: far, far: near, dispose };
}

/** Our channel on the near side, the library's on the far one. */
async function libraryPair(librarySide: "dialer" | "acceptor"): Promise<ChannelPair> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const url = new URL(`ws://127.0.0.1:${port}/`);
  const accepted = Promise.withResolvers<MessageChannel>();
  const library = new WebSocketServer({ noServer: true });
  server.on("upgrade", (request, socket, head) => {
    if (librarySide === "acceptor") {
      library.handleUpgrade(request, socket, head, (peer) => accepted.resolve(libraryChannel(peer)));
    } else {
      const channel = acceptWebSocket(request, socket, head);
      if (channel !== undefined) accepted.resolve(channel);
    }
  });
  const dialed = await (librarySide === "dialer"
    ? dialWithLibrary(url)
    : dialWebSocket(url, { signal: new AbortController().signal }));
  const [near, far] = librarySide === "dialer" ? [await accepted.promise, dialed] : [dialed, await accepted.promise];
  return {
    near,
    far,
    async dispose() {
      near.terminate();
      far.terminate();
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

async function dialWithLibrary(url: URL): Promise<MessageChannel> {
  const socket = new WebSocket(url, SUBPROTOCOL, { perMessageDeflate: false });
  const channel = libraryChannel(socket);
  await once(socket, "open");
  return channel;
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
    createSessionDeps(),
  );
  const dialer = dialSession(
    channels.near,
    { ...common, role: "cli", instanceId: parseInstanceId("cli-0001") },
    createSessionDeps(),
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
