import { expect, test } from "vitest";
import { add } from "../src/unused.ts";

// Nothing is asked about one number alone, for the sake of the test that looks for such a hole.
test("one and two are three", () => {
  expect(add(1, 2)).toBe(3);
});
