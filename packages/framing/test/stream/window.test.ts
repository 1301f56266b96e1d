import { MAX_WINDOW_BYTES } from "@cluster-connect/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import { ReceiveWindow, SendWindow } from "../../src/stream/window.ts";

test("a sender that follows the credit never breaks the window, and never stops for good", () => {
  const steps = fc.array(fc.record({ send: fc.nat(5_000), take: fc.nat(5_000), grow: fc.nat(9_000) }), {
    minLength: 1,
    maxLength: 100,
  });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4_000 }), steps, (windowBytes, list) => {
      const receiver = new ReceiveWindow(windowBytes);
      const sender = new SendWindow(windowBytes);
      let sent = 0;
      let taken = 0;
      const credit = (next?: number): void => {
        if (!receiver.due(taken)) return;
        const { consumed, windowBytes: size } = receiver.announce(taken, next);
        sender.credit(consumed, size, sent);
      };
      for (const { send, take, grow } of list) {
        sent = Math.min(sender.limit, sent + send);
        receiver.check(sent);
        taken = Math.min(sent, taken + take);
        credit(grow + 1);
        expect(sender.limit).toBe(receiver.limit);
      }
      taken = sent;
      credit();
      expect(sender.limit).toBeGreaterThan(sent - receiver.windowBytes / 4);
    }),
  );
});

test("a large window is not a quarter short until credit comes back", () => {
  const receiver = new ReceiveWindow(16_777_216);
  expect(receiver.due(262_143)).toBe(false);
  expect(receiver.due(262_144)).toBe(true);
});

test("a peer may promise the largest window, and what it promises beyond counts for nothing", () => {
  expect(MAX_WINDOW_BYTES).toBe(16_777_216);
  const limitFor = (windowBytes: number): number => {
    const sender = new SendWindow(0);
    sender.credit(0, windowBytes, 0);
    return sender.limit;
  };
  expect([limitFor(16_777_215), limitFor(16_777_216)]).toEqual([16_777_215, 16_777_216]);
  expect([limitFor(16_777_217), limitFor(0xffff_ffff)]).toEqual([16_777_216, 16_777_216]);
});

test("credit for a small window comes back at a quarter of it", () => {
  const receiver = new ReceiveWindow(100);
  expect([receiver.due(24), receiver.due(25)]).toEqual([false, true]);
  receiver.announce(25);
  expect([receiver.due(49), receiver.due(50)]).toEqual([false, true]);
});

test("a window of nothing takes nothing, and says how much was too much", () => {
  const receiver = new ReceiveWindow(0);
  receiver.check(0);
  expect(() => receiver.check(1)).toThrow("1 bytes came beyond the window");
  expect(() => new ReceiveWindow(100).check(103)).toThrow("3 bytes came beyond the window");
});

test("a promise that was made stays when the consumer takes nothing", () => {
  const receiver = new ReceiveWindow(100, 1_000);
  receiver.check(1_000);
  receiver.announce(10);
  expect(receiver.limit).toBe(1_000);
  expect(() => receiver.check(1_001)).toThrow(expect.objectContaining({ code: "CC_FLOW_CONTROL" }));
});

test("a peer cannot consume more than was sent", () => {
  const sender = new SendWindow(100);
  expect(sender.consumed).toBe(0);
  expect(() => sender.credit(51, 100, 50)).toThrow(expect.objectContaining({ code: "CC_FLOW_CONTROL" }));
});

test("an old credit that arrives late changes nothing", () => {
  const sender = new SendWindow(100);
  sender.credit(50, 100, 80);
  sender.credit(20, 100, 80);
  expect(sender.limit).toBe(150);
  expect(sender.consumed).toBe(50);
});
