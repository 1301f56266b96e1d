import { expect, test } from "vitest";
import { type WakeReason, watchWake } from "../../src/index.ts";
import { createFakeClock } from "../../src/testing/index.ts";

function watched() {
  const clock = createFakeClock();
  const abort = new AbortController();
  const machine = { sleptMs: 0, addresses: "eth0 10.0.0.1" };
  const reasons: WakeReason[] = [];
  watchWake({ signal: abort.signal }, (reason) => reasons.push(reason), {
    clock,
    wallNow: () => clock.monotonicNow() + machine.sleptMs,
    addresses: () => machine.addresses,
  });
  return { clock, abort, machine, reasons };
}

test("nothing is told while nothing happens", async () => {
  const { clock, reasons } = watched();
  await clock.advance(60_000);
  expect(reasons).toEqual([]);
});

test("a machine that slept is noticed when it wakes, once", async () => {
  const { clock, machine, reasons } = watched();
  await clock.advance(10_000);
  machine.sleptMs = 600_000;
  await clock.advance(10_000);
  expect(reasons).toEqual(["slept"]);
});

test("another network is noticed, once", async () => {
  const { clock, machine, reasons } = watched();
  machine.addresses = "wlan0 192.168.1.7";
  await clock.advance(10_000);
  expect(reasons).toEqual(["interfacesChanged"]);
});

test("aborting leaves no timer", async () => {
  const { clock, abort } = watched();
  await clock.advance(5_000);
  abort.abort();
  expect(clock.pendingTimers).toBe(0);
});
