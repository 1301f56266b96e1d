import fc from "fast-check";
import { expect, test } from "vitest";
import { HopAcknowledger } from "../../src/hop/acknowledge.ts";
import { createHopSender, type HopSender } from "../../src/hop/hop-window.ts";
import { createFakeClock } from "../../src/testing/index.ts";

/** One end of a hop: its HOPACKs wait in `sent`, and `trip` is what the next PONG tells. */
function createEnd(clock: ReturnType<typeof createFakeClock>) {
  const sent: Uint8Array[] = [];
  const sender: HopSender = createHopSender({}, { clock });
  const state = { tripMs: 1 };
  const writer = {
    send: (_type: string, _id: number, [payload]: readonly Uint8Array[]) => void (payload && sent.push(payload)),
    sendFirst: () => undefined,
    wake: () => undefined,
    remove: () => undefined,
    open: () => undefined,
    flush: () => undefined,
    close: () => undefined,
    dataBytes: 0,
  };
  const keepalive = {
    rttMs: undefined,
    start: () => undefined,
    stop: () => undefined,
    probe: () => undefined,
    pong: () => state.tripMs,
    alive: () => undefined,
    wake: () => undefined,
  };
  const hop = new HopAcknowledger(sender, keepalive, writer);
  const pong = (tripMs: number): void => {
    state.tripMs = tripMs;
    hop.onPong(new Uint8Array(8));
  };
  return { sender, hop, sent, pong };
}

const CHUNK_BYTES = 8_192;

/** DATA goes one way; HOPACKs go both ways, and all that was sent arrives. */
function createHop() {
  const clock = createFakeClock();
  const [near, far] = [createEnd(clock), createEnd(clock)];
  const settle = (): void => {
    while (near.sent.length + far.sent.length > 0) {
      for (const payload of near.sent.splice(0)) far.hop.onHopAck(payload);
      for (const payload of far.sent.splice(0)) near.hop.onHopAck(payload);
    }
  };
  const send = (): void => {
    near.sender.sent(CHUNK_BYTES, true);
    far.hop.received(CHUNK_BYTES);
  };
  return { clock, near, send, settle };
}

test("a window that a shorter round trip makes smaller is acknowledged more often from then on", async () => {
  const { clock, near, send, settle } = createHop();
  near.pong(200);
  for (let ms = 0; ms < 2_000; ms += 8) {
    if (near.sender.open) send();
    settle();
    await clock.advance(8);
  }
  const wide = near.sender.capBytes;
  near.pong(1);
  expect(near.sender.capBytes).toBeLessThan(wide / 2);
  settle();
  expect(near.sender.open).toBe(true);
  while (near.sender.open) send();
  settle();
  expect(near.sender.open).toBe(true);
});

test("whatever round trips and pauses there were, the window is open once all has arrived", async () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("pong" as const), ms: fc.integer({ min: 1, max: 400 }) }),
    fc.record({ kind: fc.constant("send" as const), chunks: fc.integer({ min: 1, max: 200 }) }),
    fc.record({ kind: fc.constant("pass" as const), ms: fc.integer({ min: 1, max: 400 }) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const { clock, near, send, settle } = createHop();
      for (const one of steps) {
        if (one.kind === "pong") near.pong(one.ms);
        else if (one.kind === "pass") await clock.advance(one.ms);
        else for (let chunk = 0; chunk < one.chunks && near.sender.open; chunk += 1) send();
        // DATA of before the pause is acknowledged after it.
        settle();
      }
      near.pong(1);
      settle();
      for (let chunk = 0; chunk < 200 && near.sender.open; chunk += 1) send();
      settle();
      expect(near.sender.open).toBe(true);
    }),
  );
});
