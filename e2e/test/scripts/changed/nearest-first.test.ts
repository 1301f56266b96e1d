import fc from "fast-check";
import { expect, test } from "vitest";
import { type Candidate, nearestFirst } from "../../../../scripts/changed/nearest-first.ts";

const file = (path: string, steps: number, ms?: number): Candidate => ({ path, steps, ms });
const chosen = (candidates: readonly Candidate[], budgetMs: number): readonly string[] =>
  nearestFirst(candidates, budgetMs).map(({ path }) => path);

test("the nearest files go first, of equally near ones the quickest, for as long as their time fits", () => {
  const files = [file("far", 3, 10), file("slow", 1, 900), file("quick", 1, 100), file("self", 0, 500)];
  expect(chosen(files, 1_500)).toEqual(["self", "quick", "slow"]);
  expect(chosen(files, 1_510)).toEqual(["self", "quick", "slow", "far"]);
  expect(chosen(files, 1_499)).toEqual(["self", "quick", "far"]);
});

test("a file of unknown time counts as a second", () => {
  expect(chosen([file("new", 1), file("known", 2, 1)], 1_000)).toEqual(["new"]);
  expect(chosen([file("new", 1), file("known", 2, 1)], 999)).toEqual(["known"]);
});

test("files that the change has no way to are chosen where it has one to none", () => {
  const nowhere = [file("slow", Number.POSITIVE_INFINITY, 20), file("quick", Number.POSITIVE_INFINITY, 10)];
  expect(chosen([...nowhere, file("near", 7, 30)], 1_000)).toEqual(["near"]);
  expect(chosen(nowhere, 1_000)).toEqual(["quick", "slow"]);
});

test("what is chosen never takes longer than the time, and everything reached is where the time has no end", () => {
  const candidate = fc.record({
    path: fc.string(),
    steps: fc.nat(9),
    ms: fc.option(fc.nat(3_000), { nil: undefined }),
  });
  fc.assert(
    fc.property(fc.array(candidate), fc.nat(20_000), (files, budgetMs) => {
      const ms = nearestFirst(files, budgetMs).reduce((sum, one) => sum + (one.ms ?? 1_000), 0);
      expect(ms).toBeLessThanOrEqual(budgetMs);
      expect(nearestFirst(files, Number.POSITIVE_INFINITY)).toHaveLength(files.length);
    }),
  );
});
