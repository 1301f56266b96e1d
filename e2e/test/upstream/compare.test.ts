import { expect, test } from "vitest";
import { compareSuites, renderComparison, type UpstreamSuite } from "../../src/upstream/compare.ts";

const WAYS = { direct: "a", through: "b" };
const suite = (name: string, outcomes: Readonly<Record<string, Readonly<Record<string, string>>>>): UpstreamSuite => ({
  name,
  prepare: async () => async (kubeconfig) => new Map(Object.entries(outcomes[kubeconfig] ?? {})),
});

test("tells what came out otherwise, what is there one way alone, and what is left out", async () => {
  const found = await compareSuites(
    [
      { name: "none", prepare: async () => ({ leftOut: "no Go" }) },
      suite("some", { a: { same: "1", other: "1", gone: "1" }, b: { same: "1", other: "2", more: "1" } }),
    ],
    WAYS,
  );
  expect(found).toEqual({
    leftOut: [{ suite: "none", reason: "no Go" }],
    same: [{ suite: "some", test: "same", outcome: "1" }],
    differences: [
      { suite: "some", test: "other", direct: "1", through: "2" },
      { suite: "some", test: "gone", direct: "1", through: undefined },
      { suite: "some", test: "more", direct: undefined, through: "1" },
    ],
  });
  const text = renderComparison(found);
  expect(text).toContain("left out   none: no Go\nsame       some: same: 1\n");
  expect(text).toContain("different  some: gone\n  directly: 1\n  through:  nothing\n");
  expect(text.endsWith("1 the same, 3 different, 1 suites left out")).toBe(true);
});
