import { expect, test } from "vitest";
import { negotiateMinor } from "../src/index.ts";

test("neighbouring minor versions speak the older of the two, in either direction", () => {
  const older = { minor: 3, oldestMinor: 2 };
  const newer = { minor: 4, oldestMinor: 3 };
  expect(negotiateMinor(older, newer)).toBe(3);
  expect(negotiateMinor(newer, older)).toBe(3);
});

test("versions without a common minor do not meet", () => {
  expect(negotiateMinor({ minor: 5, oldestMinor: 4 }, { minor: 3, oldestMinor: 2 })).toBeUndefined();
});
