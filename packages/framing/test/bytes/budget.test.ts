import { expect, test } from "vitest";
import { createBudget } from "../../src/index.ts";

test("no more is reserved than there is, here and in the larger budget", () => {
  const process = createBudget(150);
  const [first, second] = [createBudget(100, process), createBudget(100, process)];
  expect(first.reserve(101)).toBe(false);
  expect(first.reserve(100)).toBe(true);
  expect(second.reserve(51)).toBe(false);
  expect(second.reserve(50)).toBe(true);
  first.release(100);
  expect(process.usedBytes).toBe(50);
  expect(second.reserve(50)).toBe(true);
});

test("what is held already counts even beyond the limit, and the excess is told", () => {
  const process = createBudget(150);
  const [first, second] = [createBudget(100, process), createBudget(100, process)];
  first.hold(90);
  second.hold(70);
  expect(process.usedBytes).toBe(160);
  expect([first.exceeded, second.exceeded]).toEqual([true, true]);
  second.release(20);
  expect([first.exceeded, second.exceeded]).toEqual([false, false]);
});
