import { expect, test } from "vitest";
import { endOfLife, type LongStreamPolicy } from "../../src/ending/lifetime.ts";

const END: LongStreamPolicy = { onExpiry: "end", maximumSeconds: 3_600 };
const MAXIMUM: LongStreamPolicy = { onExpiry: "runToMaximum", maximumSeconds: 3_600 };
const STARTED = 1_000_000;
const ordinary = (expiresAt: number) => ({ long: false, startedAt: STARTED, expiresAt: new Date(expiresAt) });
const long = (expiresAt: number) => ({ long: true, startedAt: STARTED, expiresAt: new Date(expiresAt) });

test.each([END, MAXIMUM])("an ordinary request may end a minute after its token, with $onExpiry as well", (policy) => {
  expect(endOfLife(ordinary(STARTED + 5_000), policy)).toBe(STARTED + 65_000);
});

test("an ordinary request has its minute from its start when the token has expired by then", () => {
  expect(endOfLife(ordinary(STARTED - 5_000), END)).toBe(STARTED + 60_000);
});

test("a long stream ends with its token", () => {
  expect(endOfLife(long(STARTED + 5_000), END)).toBe(STARTED + 5_000);
});

test("a long stream that may run to the maximum ends there, and not before its token", () => {
  expect(endOfLife(long(STARTED + 5_000), MAXIMUM)).toBe(STARTED + 3_600_000);
  expect(endOfLife(long(STARTED + 4_000_000), MAXIMUM)).toBe(STARTED + 4_000_000);
});
