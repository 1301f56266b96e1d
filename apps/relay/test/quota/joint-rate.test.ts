import { createTokenBucket } from "@cluster-connect/base";
import { expect, test } from "vitest";
import { jointRate } from "../../src/quota/joint-rate.ts";

const rateOf = (perSecond: number) => createTokenBucket(perSecond, { burstSeconds: 1 }, { now: () => 0 });

test("rates that count together are as slow as the slowest, and each counts everything", () => {
  const [own, all] = [rateOf(100), rateOf(1_000)];
  const joint = jointRate([own, all]);
  expect(joint.perSecond).toBe(100);
  expect(joint.reserve(300)).toBe(0);
  expect([joint.waitMs(), own.waitMs(), all.waitMs()]).toEqual([2_000, 2_000, 0]);
  expect(joint.reserve(800)).toBe(2_000);
  expect([own.waitMs(), all.waitMs()]).toEqual([10_000, 100]);
  joint.refund(200);
  expect([own.waitMs(), all.waitMs()]).toEqual([8_000, 0]);
  joint.passed(1_100);
  expect([own.waitMs(), all.waitMs()]).toEqual([10_000, 1_000]);
});
