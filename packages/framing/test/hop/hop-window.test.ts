import { decodeHopAck } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import { createHopReceiver, createHopSender } from "../../src/hop/hop-window.ts";
import { createFakeClock } from "../../src/testing/index.ts";

/** Sends as much as the window allows over a path, and tells the cap at the end. */
async function capAfter(options: {
  readonly bytesPerMs: number;
  readonly roundTripMs: number;
  readonly forMs: number;
}) {
  const { bytesPerMs, roundTripMs, forMs } = options;
  const clock = createFakeClock();
  const sender = createHopSender({}, { clock });
  sender.roundTrip(roundTripMs);
  let sent = 0;
  let free = 0;
  let carried = 0;
  while (clock.monotonicNow() < forMs) {
    while (sender.open) {
      sender.sent(8_192, true);
      sent += 8_192;
      free = Math.max(free, clock.monotonicNow()) + 8_192 / bytesPerMs;
      const upTo = sent;
      clock.setTimer(free - clock.monotonicNow() + roundTripMs, () => {
        carried = upTo;
        sender.acked(upTo);
      });
    }
    await clock.advance(1);
  }
  return { capBytes: sender.capBytes, rate: carried / forMs };
}

test("a long fast hop is filled", async () => {
  const { capBytes, rate } = await capAfter({ bytesPerMs: 50_000, roundTripMs: 40, forMs: 2_000 });
  expect(capBytes).toBeGreaterThan(2_000_000);
  expect(rate).toBeGreaterThan(0.85 * 50_000);
});

test("a short hop keeps the cap that is enough for it", async () => {
  const { capBytes } = await capAfter({ bytesPerMs: 50_000, roundTripMs: 1, forMs: 300 });
  expect(capBytes).toBeLessThanOrEqual(786_432);
});

test("a slow hop gets a short queue", async () => {
  const { capBytes, rate } = await capAfter({ bytesPerMs: 500, roundTripMs: 20, forMs: 10_000 });
  expect(capBytes).toBeLessThanOrEqual(65_536);
  expect(rate).toBeGreaterThan(0.85 * 500);
});

test("an acknowledgement of more than was sent, or of less than before, tells nothing", () => {
  const sender = createHopSender({}, { clock: createFakeClock() });
  sender.sent(1_000, true);
  expect(sender.acked(1_001)).toBe(false);
  expect(sender.acked(1_000)).toBe(true);
  expect(sender.acked(999)).toBe(false);
  expect(sender.inFlightBytes).toBe(0);
});

test("a hop window that is off never holds DATA back", () => {
  const sender = createHopSender({ enabled: false }, { clock: createFakeClock() });
  sender.sent(100_000_000, true);
  expect(sender.open).toBe(true);
  expect(sender.wantedEvery()).toBeUndefined();
});

test("a receiver that is asked for a shorter interval acknowledges what that makes due", () => {
  const receiver = createHopReceiver();
  expect(receiver.received(100_000)).toBeUndefined();
  expect(receiver.setEvery(0)).toBeUndefined();
  const ack = receiver.setEvery(50_000);
  expect(ack === undefined ? undefined : decodeHopAck(ack).received).toBe(100_000);
  expect(receiver.received(49_999)).toBeUndefined();
  expect(receiver.received(1)).toBeDefined();
});
