import fc from "fast-check";
import { expect, test } from "vitest";
import { createTokenBucket } from "../src/token-bucket.ts";

/** A bucket of 100 units per second, and the hand of its clock. */
function setUp(perSecond = 100) {
  const clock = { ms: 50_000 };
  return { clock, rate: createTokenBucket(perSecond, { burstSeconds: 1 }, { now: () => clock.ms }) };
}

test("what fits into a second passes at once, one byte more waits for its turn", () => {
  const { clock, rate } = setUp();
  expect(rate.reserve(100)).toBe(0);
  expect(rate.reserve(1)).toBe(0);
  expect(rate.waitMs()).toBe(10);
  expect(rate.reserve(100)).toBe(10);
  expect(rate.waitMs()).toBe(1_010);
  clock.ms += 1_000;
  expect(rate.waitMs()).toBe(10);
  clock.ms += 10;
  expect(rate.waitMs()).toBe(0);
});

test("a rate whose second holds no hundred bytes has a second's worth, neither more nor less", () => {
  const { rate } = setUp(3);
  rate.reserve(3);
  expect(rate.waitMs()).toBe(0);
  rate.reserve(3);
  expect(rate.waitMs()).toBe(1_000);
});

test("a pause saves up one second's worth and no more", () => {
  const { clock, rate } = setUp();
  clock.ms += 60_000;
  rate.reserve(200);
  expect(rate.waitMs()).toBe(1_000);
});

test("a clock that is set back takes nothing away", () => {
  const { clock, rate } = setUp();
  clock.ms -= 40_000;
  expect(rate.waitMs()).toBe(0);
  rate.reserve(150);
  expect(rate.waitMs()).toBe(500);
});

test("a turn that is given back is there for the next, up to a second's worth", () => {
  const { rate } = setUp();
  rate.reserve(150);
  rate.refund(50);
  expect(rate.waitMs()).toBe(0);
  rate.reserve(50);
  expect(rate.waitMs()).toBe(500);
  rate.refund(1_000);
  rate.reserve(200);
  expect(rate.waitMs()).toBe(1_000);
});

test("what passed without a turn is made up for by a pause of ten seconds at most", () => {
  const { rate } = setUp();
  rate.passed(1_100);
  expect(rate.waitMs()).toBe(10_000);
  rate.passed(1);
  expect(rate.waitMs()).toBe(10_000);
});

test("what passed without a turn counts from when it passed", () => {
  const { clock, rate } = setUp();
  rate.reserve(200);
  clock.ms += 1_000;
  rate.passed(100);
  expect(rate.waitMs()).toBe(1_000);
});

test("a pause before it saves up nothing for what passes without a turn", () => {
  const { clock, rate } = setUp();
  clock.ms += 60_000;
  rate.passed(50);
  rate.reserve(100);
  expect(rate.waitMs()).toBe(500);
});

test("a debt of turns is not made smaller by what passes without one", () => {
  const { rate } = setUp();
  rate.reserve(5_000);
  rate.passed(1);
  expect(rate.waitMs()).toBe(49_000);
});

test("over any time no more passes than the rate and one second's worth", () => {
  const steps = fc.array(fc.record({ pause: fc.nat(5_000), bytes: fc.nat(500) }), { minLength: 1, maxLength: 60 });
  fc.assert(
    fc.property(steps, (all) => {
      const { clock, rate } = setUp();
      let sent = 0;
      const from = clock.ms;
      for (const { pause, bytes } of all) {
        clock.ms += pause;
        clock.ms += rate.reserve(bytes);
        sent += bytes;
      }
      clock.ms += rate.waitMs();
      expect(sent).toBeLessThanOrEqual(100 + ((clock.ms - from) / 1_000) * 100 + 1e-6);
    }),
  );
});

test("without settings two seconds' worth pass at once, and the debt ends at ten seconds", () => {
  const bucket = createTokenBucket(100, {}, { now: () => 0 });
  bucket.reserve(300);
  expect(bucket.waitMs()).toBe(1_000);
  bucket.passed(1_000_000);
  expect(bucket.waitMs()).toBe(10_000);
});

test("a unit is taken only where there is a whole one", () => {
  const { clock, rate } = setUp(2);
  expect([rate.take(), rate.take(), rate.take()]).toEqual([0, 0, 500]);
  clock.ms += 250;
  expect(rate.take()).toBe(250);
  clock.ms += 250;
  expect([rate.take(), rate.take()]).toEqual([0, 500]);
});
