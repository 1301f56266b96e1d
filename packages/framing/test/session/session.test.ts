import { text } from "node:stream/consumers";
import { ConnectError, INITIAL_WINDOW_BYTES, parseInstanceId } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import { createFakeClock, openStream, sessionPair, TEST_OPEN } from "../../src/testing/index.ts";

test("both sides become ready and know each other", async () => {
  const { dialer, acceptor } = sessionPair({}, { clock: createFakeClock() });
  await expect(dialer.ready).resolves.toMatchObject({ sessionId: "session-1", peer: { role: "relay" } });
  await expect(acceptor.ready).resolves.toMatchObject({ sessionId: "session-1", peer: { role: "cli" } });
});

test("a stream carries bytes and FIN both ways", async () => {
  const { dialer, incoming } = sessionPair({}, { clock: createFakeClock() });
  const [near, far] = await openStream(dialer, incoming);
  near.end("ping");
  expect(await text(far)).toBe("ping");
  far.end("pong");
  expect(await text(near)).toBe("pong");
  await expect(near.done).resolves.toEqual({ kind: "finished" });
  await expect(far.done).resolves.toEqual({ kind: "finished" });
});

test("an acceptor may open streams too", async () => {
  const { acceptor, incoming } = sessionPair({}, { clock: createFakeClock() });
  await acceptor.ready;
  const [near, far] = await openStream(acceptor, incoming);
  near.end("from the relay");
  expect(await text(far)).toBe("from the relay");
});

test("bytes written before the answer arrive", async () => {
  const { dialer, incoming } = sessionPair({}, { clock: createFakeClock() });
  const near = dialer.open(TEST_OPEN);
  near.end("early");
  const waiting = await incoming.next();
  expect(await text(waiting.accept({ instanceId: parseInstanceId("agent-01") }))).toBe("early");
});

test("a reader that never reads stops the writer at the window", async () => {
  const clock = createFakeClock();
  const { dialer, incoming } = sessionPair({}, { clock });
  const [near] = await openStream(dialer, incoming);
  near.write(Buffer.alloc(3 * INITIAL_WINDOW_BYTES));
  await clock.settle();
  expect(near.bytesSent).toBe(INITIAL_WINDOW_BYTES);
});

test("a reset during half-close reports its code to the reader", async () => {
  const { dialer, incoming } = sessionPair({}, { clock: createFakeClock() });
  const [near, far] = await openStream(dialer, incoming);
  near.end();
  far.reset("CC_UPSTREAM_UNREACHABLE", "no auth proxy");
  await expect(text(near)).rejects.toMatchObject({ code: "CC_UPSTREAM_UNREACHABLE", message: "no auth proxy" });
  await expect(near.done).resolves.toMatchObject({ kind: "reset" });
});

test("a refused stream tells why", async () => {
  const { dialer, incoming } = sessionPair({}, { clock: createFakeClock() });
  const near = dialer.open(TEST_OPEN);
  (await incoming.next()).reject("CC_AGENT_OFFLINE", "no agent", 2_000);
  await expect(near.accepted).rejects.toMatchObject({ code: "CC_AGENT_OFFLINE", retryAfterMs: 2_000 });
});

test("a dialer that is not authenticated learns the code and the session ends", async () => {
  const authenticate = () => Promise.reject(new ConnectError("CC_AGENT_KEY_REFUSED", "unknown key"));
  const { dialer, acceptor } = sessionPair({ accept: { authenticate } }, { clock: createFakeClock() });
  await expect(dialer.ready).rejects.toMatchObject({ code: "CC_AGENT_KEY_REFUSED", message: "unknown key" });
  await expect(acceptor.closed).resolves.toMatchObject({ code: "CC_AGENT_KEY_REFUSED", by: "local" });
});

test("a relay tells how many of them there are, and a peer that does not ask goes on", async () => {
  const told = Promise.withResolvers<number>();
  const { dialer, acceptor, incoming } = sessionPair(
    { dial: { onRelays: told.resolve } },
    { clock: createFakeClock() },
  );
  await Promise.all([acceptor.ready, dialer.ready]);
  acceptor.announceRelays(3);
  await expect(told.promise).resolves.toBe(3);
  dialer.announceRelays(4);
  const [near, far] = await openStream(dialer, incoming);
  near.end("ping");
  expect(await text(far)).toBe("ping");
});

test("a lost channel resets its streams with CC_CHANNEL_LOST", async () => {
  const { dialer, incoming, channel } = sessionPair({}, { clock: createFakeClock() });
  const [near, far] = await openStream(dialer, incoming);
  channel.cut();
  await expect(near.done).resolves.toMatchObject({ error: { code: "CC_CHANNEL_LOST" } });
  await expect(far.done).resolves.toMatchObject({ error: { code: "CC_CHANNEL_LOST" } });
});

test("streams that come and go towards a peer that does not read stop at a number of bytes", async () => {
  const { dialer, acceptor, channel } = sessionPair({}, { clock: createFakeClock() });
  await acceptor.ready;
  channel.stall();
  let refusal: unknown;
  for (let count = 0; count < 50_000 && refusal === undefined; count += 1) {
    try {
      dialer.open(TEST_OPEN).reset("CC_CANCELLED", "never mind");
      await Promise.resolve();
    } catch (error) {
      refusal = error;
    }
  }
  expect(refusal).toMatchObject({ code: "CC_LIMIT_REACHED", retryAfterMs: 1_000 });
  expect(channel.dialer.bufferedBytes).toBeGreaterThan(2_097_152);
  expect(channel.dialer.bufferedBytes).toBeLessThan(2_200_000);
});
