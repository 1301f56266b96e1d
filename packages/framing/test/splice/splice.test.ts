import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, connect, createServer, type Server, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Duplex } from "node:stream";
import { afterEach, expect, onTestFinished, test } from "vitest";
import { splice } from "../../src/index.ts";
import { createFakeClock, openStream, readAll, sessionPair } from "../../src/testing/index.ts";

const servers: Server[] = [];
const sockets: Socket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const server of servers.splice(0)) server.close();
});

/** Both ends of a connection, with half-close: TCP on loopback, or a unix socket at `path`. */
async function socketPair(path?: string): Promise<readonly [client: Socket, server: Socket]> {
  const listener = createServer({ allowHalfOpen: true });
  servers.push(listener);
  listener.listen(path === undefined ? { port: 0, host: "127.0.0.1" } : { path });
  await once(listener, "listening");
  const accepted = once(listener, "connection");
  const where = path === undefined ? { port: (listener.address() as AddressInfo).port, host: "127.0.0.1" } : { path };
  const client = connect({ ...where, allowHalfOpen: true });
  const [server] = await accepted;
  if (!(server instanceof Socket)) throw new Error("no socket");
  sockets.push(client, server);
  client.on("error", () => {});
  return [client, server];
}

/** client ⇄ server spliced near ⇄ far */
async function splicedStream() {
  const { dialer, acceptor, incoming, channel } = sessionPair({}, { clock: createFakeClock() });
  const [near, far] = await openStream(dialer, incoming);
  const [client, server] = await socketPair();
  const outcome = splice(server, near).catch((error: unknown) => error);
  return { client, server, near, far, outcome, dialer, acceptor, channel };
}

test("bytes and half-close pass: the answer to a request that ended arrives whole", async () => {
  const { client, far, outcome } = await splicedStream();
  client.end("request");
  expect((await readAll(far)).toString()).toBe("request");
  far.end(Buffer.alloc(1_000_000, "answer"));
  expect((await readAll(client)).length).toBe(1_000_000);
  expect(await outcome).toEqual({ forthBytes: 7, backBytes: 1_000_000 });
});

test("a reset of the stream closes a unix socket, which cannot be reset", async () => {
  const { dialer, incoming } = sessionPair({}, { clock: createFakeClock() });
  const [near, far] = await openStream(dialer, incoming);
  const folder = await mkdtemp(join(tmpdir(), "splice-"));
  const [client, server] = await socketPair(join(folder, "upstream.sock"));
  const outcome = splice(server, near).catch((error: unknown) => error);
  far.reset("CC_STREAM_RESET", "gone");
  expect(await outcome).toMatchObject({ code: "CC_STREAM_RESET" });
  expect((await readAll(client)).length).toBe(0);
  await rm(folder, { recursive: true });
});

test("a splice that half-closed and then passes nothing is broken off", async () => {
  const clock = createFakeClock();
  const { dialer, incoming } = sessionPair({}, { clock });
  const [near, far] = await openStream(dialer, incoming);
  const [client, server] = await socketPair();
  const outcome = splice(server, near, { halfClosedIdleMs: 1_000 }, { clock }).catch((error: unknown) => error);
  client.end();
  await readAll(far);
  far.write("still there");
  await clock.advance(900);
  far.write("and again");
  await clock.advance(1_000);
  expect(near.destroyed).toBe(false);
  await clock.advance(1_000);
  await expect(outcome).resolves.toMatchObject({ code: "CC_TIMEOUT" });
  await expect(far.done).resolves.toMatchObject({ kind: "reset" });
});

test("a local socket that breaks off resets the stream", async () => {
  const { client, far, outcome, dialer } = await splicedStream();
  client.resetAndDestroy();
  await expect(far.done).resolves.toMatchObject({ kind: "reset" });
  expect(await outcome).toBeInstanceOf(Error);
  expect(dialer.counters.openStreams).toBe(0);
});

test("a local socket that half-closes and then breaks off resets the stream when bytes come for it", async () => {
  const { client, far, outcome, dialer } = await splicedStream();
  client.end();
  await readAll(far);
  client.resetAndDestroy();
  await once(client, "close");
  far.write(Buffer.alloc(100_000));
  await expect(far.done).resolves.toMatchObject({ kind: "reset" });
  expect(await outcome).toBeInstanceOf(Error);
  expect(dialer.counters.openStreams).toBe(0);
});

test("a reset of the stream breaks the local socket off instead of ending it", async () => {
  const { client, far, outcome } = await splicedStream();
  const broken = once(client, "error");
  client.on("end", () => expect.fail("the socket ended as if all had come"));
  client.resume();
  far.reset("CC_SESSION_ENDED", "ended");
  await expect(outcome).resolves.toMatchObject({ code: "CC_SESSION_ENDED" });
  await expect(broken).resolves.toMatchObject([{ code: "ECONNRESET" }]);
});

test("a splice that broke off holds no timer when a side's end comes late", async () => {
  const { dialer, incoming } = sessionPair({}, { clock: createFakeClock() });
  const [near, far] = await openStream(dialer, incoming);
  // Takes everything, and is never done with its end until it is destroyed.
  const endless = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done(), final() {} });
  const clock = createFakeClock();
  const abort = new AbortController();
  const outcome = splice(endless, near, { signal: abort.signal }, { clock }).catch((error: unknown) => error);
  far.end("last words");
  await once(near, "end");
  abort.abort();
  expect(await outcome).toBe(abort.signal.reason);
  await clock.settle();
  expect(clock.pendingTimers).toBe(0);
});

test("an aborted splice leaves neither side", async () => {
  const { dialer, incoming } = sessionPair({}, { clock: createFakeClock() });
  const [near, far] = await openStream(dialer, incoming);
  const [, server] = await socketPair();
  const abort = new AbortController();
  const outcome = splice(server, near, { signal: abort.signal });
  abort.abort();
  await expect(outcome).rejects.toBe(abort.signal.reason);
  expect(server.destroyed).toBe(true);
  await expect(far.done).resolves.toMatchObject({ kind: "reset" });
});

test("a reader that never reads holds the local writer back", async () => {
  const { client, near } = await splicedStream();
  for (let count = 0; count < 512; count += 1) client.write(Buffer.alloc(65_536));
  await expect.poll(() => near.endpoint.room).toBeLessThanOrEqual(0);
  expect(client.writableLength).toBeGreaterThan(0);
  expect(near.bytesSent).toBeLessThanOrEqual(262_144);
});

test("bulk both ways through sockets arrives as it was sent, whatever memory it passed through", async () => {
  const { client, near, far, outcome } = await splicedStream();
  const up = randomBytes(6_000_001);
  const down = randomBytes(5_000_003);
  for (let from = 0; from < up.length; from += 70_001) client.write(up.subarray(from, from + 70_001));
  client.end();
  for (let from = 0; from < down.length; from += 33_333) far.write(down.subarray(from, from + 33_333));
  far.end();
  // No reader takes bytes yet, so that chunks wait at every place where they can.
  await expect.poll(() => near.endpoint.room).toBeLessThanOrEqual(0);
  const [atFar, atClient] = await Promise.all([readAll(far), readAll(client)]);
  expect(atFar.equals(up)).toBe(true);
  expect(atClient.equals(down)).toBe(true);
  expect(await outcome).toEqual({ forthBytes: up.length, backBytes: down.length });
});

/** As an agent has it: a socket to an upstream, which the test plays, spliced with a stream. */
async function splicedUpstream(kind: "tcp" | "unix") {
  const clock = createFakeClock();
  const { dialer, incoming } = sessionPair({}, { clock });
  const [near, far] = await openStream(dialer, incoming);
  const folder = await mkdtemp(join(tmpdir(), "splice-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const [upstream, socket] = await socketPair(kind === "unix" ? join(folder, "upstream.sock") : undefined);
  const outcome = splice(socket, near, {}, { clock }).catch((error: unknown) => error);
  return { clock, upstream, far, outcome };
}

test.each(["tcp", "unix"] as const)(
  "what a client says after a %s upstream has ended and closed is no error",
  async (kind) => {
    const { upstream, far, outcome } = await splicedUpstream(kind);
    upstream.end("answer");
    upstream.resume();
    expect((await readAll(far)).toString()).toBe("answer");
    upstream.destroy();
    await once(upstream, "close");
    for (let part = 0; part < 3; part += 1) {
      far.write("close notify");
      await new Promise((resolve) => setImmediate(resolve));
    }
    far.end();
    expect(await outcome).toMatchObject({ forthBytes: 6 });
    await expect(far.done).resolves.toEqual({ kind: "finished" });
  },
);

test.each(["tcp", "unix"] as const)(
  "a %s upstream that answers early and closes is heard, and the rest of the request is dropped",
  async (kind) => {
    const { upstream, far, outcome } = await splicedUpstream(kind);
    const answer = Buffer.alloc(50_000, "413 ");
    const answered = readAll(far);
    far.write(Buffer.alloc(100_000));
    await once(upstream, "readable");
    upstream.end(answer);
    await once(upstream, "finish");
    expect((await answered).equals(answer)).toBe(true);
    upstream.destroy();
    for (let part = 0; part < 40; part += 1) far.write(Buffer.alloc(50_000));
    far.end();
    expect(await outcome).toMatchObject({ forthBytes: 50_000 });
    await expect(far.done).resolves.toEqual({ kind: "finished" });
  },
);

test("who goes on talking to an upstream that is gone is broken off after a moment", async () => {
  const { clock, upstream, far, outcome } = await splicedUpstream("unix");
  upstream.end("answer");
  expect((await readAll(far)).toString()).toBe("answer");
  upstream.destroy();
  await once(upstream, "close");
  const talk = setInterval(() => far.write("more"), 5);
  onTestFinished(() => clearInterval(talk));
  await expect.poll(() => clock.pendingTimers).toBeGreaterThan(0);
  const isOver = async (): Promise<boolean> => {
    await clock.advance(500);
    return far.destroyed;
  };
  await expect.poll(isOver).toBe(true);
  clearInterval(talk);
  expect(await outcome).toMatchObject({ code: "CC_STREAM_RESET" });
});

test("what an upstream said before it broke off is read before the reset", async () => {
  const { upstream, far, outcome } = await splicedUpstream("tcp");
  upstream.write(Buffer.alloc(100_000, "x"));
  let bytes = 0;
  await expect.poll(() => far.endpoint.unreadBytes + far.readableLength).toBe(100_000);
  upstream.resetAndDestroy();
  await once(upstream, "close");
  far.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
  });
  await expect(far.done).resolves.toMatchObject({ kind: "reset" });
  expect(bytes).toBe(100_000);
  expect(await outcome).toBeInstanceOf(Error);
});

test("what a side said before it was gone is taken, however long that lasts", async () => {
  const clock = createFakeClock();
  const { dialer, incoming } = sessionPair({}, { clock });
  const [near, far] = await openStream(dialer, incoming);
  const [client, server] = await socketPair();
  const outcome = splice(server, near, {}, { clock }).catch((error: unknown) => error);
  const said = Buffer.alloc(100_000, "x");
  client.end(said);
  await expect.poll(() => server.readableEnded).toBe(true);
  client.destroy();
  await once(client, "close");
  // An answer to a client that is gone closes the socket.
  const answered = (): boolean => {
    far.write("answer");
    return server.closed;
  };
  await expect.poll(answered).toBe(true);
  for (let second = 0; second < 60; second += 1) await clock.advance(1_000);
  expect(far.destroyed).toBe(false);
  expect((await readAll(far)).equals(said)).toBe(true);
  await clock.advance(2_000);
  expect(await outcome).toMatchObject({ code: "CC_STREAM_RESET", message: "The side behind the stream has closed" });
});
