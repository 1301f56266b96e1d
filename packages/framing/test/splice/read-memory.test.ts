import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { connectSharing, createReadMemory, createSessionBudgets, splice } from "../../src/index.ts";
import { createFakeClock, openStream, readAll, sessionPair } from "../../src/testing/index.ts";

const servers: Server[] = [];
const sockets: Socket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const server of servers.splice(0)) server.close();
});

const memory = createReadMemory();
const QUIET_BYTES = 16_384;

/** An upstream that the test plays, and the socket that is connected to it. */
async function connected(): Promise<readonly [upstream: Socket, socket: Socket]> {
  const server = createServer({ allowHalfOpen: true });
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const accepted = once(server, "connection");
  const { port } = server.address() as AddressInfo;
  const socket = connectSharing({ port, host: "127.0.0.1", allowHalfOpen: true }, memory);
  const [upstream] = await accepted;
  upstream.on("error", () => {});
  sockets.push(upstream, socket);
  return [upstream, socket];
}

test("sockets that read into the same memory at once give each its own bytes, with those that came before", async () => {
  const { dialer, incoming } = sessionPair({}, { clock: createFakeClock() });
  const all = Array.from({ length: 8 }, async (_, index) => {
    const [near, far] = await openStream(dialer, incoming);
    const [upstream, socket] = await connected();
    const said = randomBytes(1_000_003 + index);
    upstream.write(said.subarray(0, 100));
    await expect.poll(() => socket.readableLength).toBe(100);
    const outcome = splice(near, socket);
    upstream.end(said.subarray(100));
    upstream.resume();
    far.end();
    expect((await readAll(far)).equals(said)).toBe(true);
    expect(await outcome).toEqual({ forthBytes: 0, backBytes: said.length });
  });
  await Promise.all(all);
});

test("a socket whose stream has no credit is not read, but for one small read", async () => {
  const { dialer, incoming } = sessionPair({}, { clock: createFakeClock() });
  const [near, far] = await openStream(dialer, incoming);
  const [upstream, socket] = await connected();
  const outcome = splice(near, socket);
  const said = randomBytes(8_000_000);
  upstream.end(said);
  await expect.poll(() => near.endpoint.room).toBeLessThanOrEqual(0);
  const heldBytes = near.endpoint.retainedBytes;
  expect(heldBytes).toBeGreaterThanOrEqual(262_144);
  expect(heldBytes).toBeLessThan(262_144 + QUIET_BYTES);
  expect([near.writableLength, socket.readableLength, socket.bytesRead]).toEqual([0, 0, heldBytes]);
  far.end();
  expect((await readAll(far)).equals(said)).toBe(true);
  await outcome;
});

test("streams whose readers pause hold what is left for the process, then a quarter of their window and one read", async () => {
  const budgets = createSessionBudgets(2 * 1_048_576);
  const { dialer, incoming } = sessionPair({ dial: { budgets } }, { clock: createFakeClock() });
  const paused = [];
  for (let count = 0; count < 12; count += 1) {
    const [near, far] = await openStream(dialer, incoming);
    const [upstream, socket] = await connected();
    const said = randomBytes(600_000);
    const outcome = splice(near, socket).catch((error: unknown) => error);
    upstream.end(said);
    await expect.poll(() => near.endpoint.room).toBeLessThanOrEqual(0);
    paused.push({ near, far, said, outcome });
  }
  const heldBytes = paused.map(({ near }) => near.endpoint.retainedBytes);
  expect(budgets.buffers.usedBytes).toBe(heldBytes.reduce((sum, bytes) => sum + bytes, 0));
  expect(budgets.buffers.usedBytes).toBeLessThan(1_048_576 + 12 * (65_536 + QUIET_BYTES));
  expect(Math.min(...heldBytes)).toBeLessThan(65_536 + QUIET_BYTES);
  for (const { far, said, outcome } of paused) {
    far.end();
    expect((await readAll(far)).equals(said)).toBe(true);
    await outcome;
  }
  expect(budgets.buffers.usedBytes).toBe(0);
});

test("where a read may be under way while another one is taken, each socket has memory of its own", () => {
  const [one, other] = [createReadMemory("win32"), createReadMemory("linux")];
  expect(one.acquire().bulk.buffer).not.toBe(one.acquire().bulk.buffer);
  expect(other.acquire().bulk.buffer).toBe(other.acquire().bulk.buffer);
});
