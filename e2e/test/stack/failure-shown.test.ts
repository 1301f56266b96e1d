import { expect, test } from "vitest";
import { failureShown } from "../../src/stack/failure-shown.ts";

test("the last error on the screen is the one, with its code and hint", () => {
  const screen = "error: first (CC_USAGE)\nhint: one\nerror: no such cluster (CC_CLUSTER_UNKNOWN)\nhint: two\n";
  expect(failureShown(screen, "it ended")).toMatchObject({
    code: "CC_CLUSTER_UNKNOWN",
    message: "no such cluster",
    hint: "two",
  });
});

test("without one, or with a code that nobody knows, the last line is told", () => {
  expect(failureShown("one\ntwo\n", "it ended")).toMatchObject({ code: "CC_INTERNAL", message: "it ended: two" });
  expect(failureShown("error: x (CC_NO_SUCH)\nhint: y\n", "it ended")).toMatchObject({ code: "CC_INTERNAL" });
});
