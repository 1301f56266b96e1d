import fc from "fast-check";
import { expect, test } from "vitest";
import { askAgainAt, dueAt, restMs, urgentAt } from "../../src/tokens/stored-token.ts";

const START = 1_900_000_000_000;
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

/** A token that was got at a time without chance: multiples of the spread's steps are renewed at exactly the half. */
const GOT = START - (START % 997);
const at = (ms: number): Date => new Date(GOT + ms);

test.each([
  ["ten seconds", 10_000, 5_000],
  ["two minutes", 2 * MINUTE_MS, MINUTE_MS],
  ["an hour", 60 * MINUTE_MS, 30 * MINUTE_MS],
  ["thirty days", 30 * DAY_MS, 15 * DAY_MS],
])("a token that lives for %s is due after half of its life", (_name, lifeMs, dueMs) => {
  expect(dueAt(at(lifeMs), at(0))).toEqual(at(dueMs));
});

test("a token that ended before it was got is due at once", () => {
  expect(dueAt(at(-1), at(0))).toEqual(at(0));
});

test("renewals are spread over a tenth of a life, never after its half and never before two fifths of it", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 4_000_000_000_000 }),
      fc.integer({ min: 1, max: 90 * DAY_MS }),
      (got, lifeMs) => {
        const ageMs = dueAt(new Date(got + lifeMs), new Date(got)).getTime() - got;
        expect(ageMs).toBeLessThanOrEqual(lifeMs / 2);
        expect(ageMs).toBeGreaterThanOrEqual(Math.floor(lifeMs * 0.4));
      },
    ),
  );
  const ages = Array.from({ length: 997 }, (_, chance) => dueAt(at(chance + 1_000_000), at(chance)).getTime() - GOT);
  expect(new Set(ages.map((age) => Math.floor(age / 10_000))).size).toBe(11);
});

test("a renewal is urgent a minute before a token's end, and a tenth of its life before where that is shorter", () => {
  expect(urgentAt(at(60 * MINUTE_MS), at(0))).toEqual(at(59 * MINUTE_MS));
  expect(urgentAt(at(10 * MINUTE_MS), at(0))).toEqual(at(9 * MINUTE_MS));
  expect(urgentAt(at(MINUTE_MS), at(0))).toEqual(at(54_000));
});

test("an issuer that failed is left alone for a tenth of what is left, and for five minutes at most", () => {
  expect(restMs(at(50 * MINUTE_MS), GOT)).toBe(5 * MINUTE_MS);
  expect(restMs(at(DAY_MS), GOT)).toBe(5 * MINUTE_MS);
  expect(restMs(at(MINUTE_MS), GOT)).toBe(6_000);
  expect(restMs(at(-1), GOT)).toBe(0);
});

test("a client asks for a kept token when it is due, and a minute later each time while its renewal fails", () => {
  const token = { token: "t", expiresAt: at(60 * MINUTE_MS), obtainedAt: at(0) };
  // A part of a second, which the answer cannot say, is rounded up.
  const seconds = (ms: number): Date => new Date(Math.ceil((GOT + ms) / 1_000) * 1_000);
  expect(askAgainAt(token, GOT)).toEqual(seconds(30 * MINUTE_MS));
  expect(askAgainAt(token, GOT + 30 * MINUTE_MS - 1)).toEqual(seconds(30 * MINUTE_MS));
  expect(askAgainAt(token, GOT + 30 * MINUTE_MS)).toEqual(seconds(31 * MINUTE_MS));
  expect(askAgainAt(token, GOT + 59 * MINUTE_MS)).toEqual(seconds(59 * MINUTE_MS + 54_000));
});

test("a client asks for a given token after half of what is left, as its owner may renew it", () => {
  const given = { token: "t", expiresAt: new Date(3_600_000) };
  expect(askAgainAt(given, 0)).toEqual(new Date(1_800_000));
  expect(askAgainAt(given, 3_600_000 - 120_000)).toEqual(new Date(3_600_000 - 60_000));
  expect(askAgainAt(given, 3_600_000 - 60_000)).toEqual(new Date(3_600_000 - 6_000));
});

test("a client is never told to ask after a token's end, and always in whole seconds", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 4_000_000_000_000 }),
      fc.integer({ min: 0, max: 90 * DAY_MS }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.boolean(),
      (got, lifeMs, share, isGiven) => {
        const expiresAt = new Date(got + lifeMs);
        const token = { token: "t", expiresAt, ...(isGiven ? {} : { obtainedAt: new Date(got) }) };
        const asked = askAgainAt(token, got + Math.floor(lifeMs * share)).getTime();
        expect(asked % 1_000).toBe(0);
        expect(asked).toBeLessThanOrEqual(expiresAt.getTime());
      },
    ),
  );
});
