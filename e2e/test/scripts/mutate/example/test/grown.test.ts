import { expect, test } from "vitest";
import { isGrown } from "../src/grown.ts";

// Nothing is asked about 18 itself, for the sake of the test that looks for such a hole.
test("somebody of 30 is grown, somebody of 3 is not", () => {
  expect([isGrown(30), isGrown(3)]).toEqual([true, false]);
});
