import fc from "fast-check";
import { expect, test } from "vitest";
import { createScheduler, TURN_BYTES } from "../../src/hop/scheduler.ts";

interface Member {
  readonly name: string;
  readonly frameBytes: number;
  sent: number;
}

function run(members: readonly Member[], turns: number): string[] {
  const scheduler = createScheduler<Member>();
  for (const member of members) scheduler.wake(member);
  const order: string[] = [];
  for (let turn = 0; turn < turns; turn += 1) {
    const member = scheduler.head();
    if (member === undefined) break;
    order.push(member.name);
    member.sent += member.frameBytes;
    scheduler.sent(member, member.frameBytes, true);
  }
  return order;
}

test("streams that always have more get the same bytes, whatever their frames", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 100, max: 65_536 }), { minLength: 2, maxLength: 6 }), (sizes) => {
      const members = sizes.map((frameBytes, index) => ({ name: String(index), frameBytes, sent: 0 }));
      run(members, 5_000);
      const sent = members.map((member) => member.sent);
      expect(Math.max(...sent) - Math.min(...sent)).toBeLessThanOrEqual(2 * TURN_BYTES + 65_536);
    }),
  );
});

test("a stream that was quiet goes before those that are busy", () => {
  const scheduler = createScheduler<{ readonly name: string }>();
  const bulk = { name: "bulk" };
  const quiet = { name: "quiet" };
  scheduler.wake(bulk);
  scheduler.sent(bulk, 65_536, true);
  expect(scheduler.head()).toBe(bulk);
  scheduler.wake(quiet);
  expect(scheduler.head()).toBe(quiet);
});

test("a stream that pauses for a moment does not jump the queue", () => {
  const scheduler = createScheduler<{ readonly name: string }>();
  const steady = { name: "steady" };
  const pausing = { name: "pausing" };
  scheduler.wake(pausing);
  scheduler.wake(steady);
  scheduler.sent(pausing, 10, false);
  scheduler.sent(steady, TURN_BYTES, true);
  scheduler.wake(pausing);
  scheduler.sent(pausing, TURN_BYTES, true);
  expect(scheduler.head()).toBe(steady);
});

test("nothing is left of a member that was removed", () => {
  const scheduler = createScheduler<{ readonly name: string }>();
  const member = { name: "gone" };
  scheduler.wake(member);
  scheduler.remove(member);
  expect(scheduler.head()).toBeUndefined();
  expect(scheduler.size).toBe(0);
});
