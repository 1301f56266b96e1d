import { MAX_STREAMS } from "@cluster-connect/protocol";
import { createMetrics } from "@cluster-connect/service";
import { expect, test } from "vitest";
import { LIMIT_SCHEMA } from "../../src/quota/limit-settings.ts";
import { openLimits } from "../../src/quota/open.ts";

test("a session has as many streams as its caller may, and never more than the protocol has", () => {
  expect(MAX_STREAMS).toBe(16_384);
  const clock = { now: () => 0, monotonicNow: () => 0 } as never;
  const streamsOf = (streamsPerCaller: number): number => {
    const deps = { metrics: createMetrics({ service: "relay" }), clock, random: () => 0 };
    return openLimits({ ...LIMIT_SCHEMA.parse({}), streamsPerCaller }, deps).maxStreamsPerSession;
  };
  expect([streamsOf(16_383), streamsOf(16_384), streamsOf(16_385)]).toEqual([16_383, 16_384, 16_384]);
});
