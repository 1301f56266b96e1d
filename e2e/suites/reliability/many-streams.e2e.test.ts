import type { MuxStream } from "@cluster-connect/framing";
import { describe, expect, test } from "vitest";
import { CUT } from "../../src/faults/cut.ts";
import type { FaultProxy } from "../../src/faults/fault-proxy.ts";
import { expectWithin } from "../support/reliability/promise.ts";
import { type Site, useSite } from "../support/reliability/site.ts";
import { allAnswer, finishAll, openEchoes } from "../support/reliability/streams.ts";

/** Limits are the default ones, but for how fast a caller may open: that takes nothing but time here. */
const site = useSite({ relayLimits: { opensPerSecondPerCaller: 2_000 } });

const STREAMS = 2_000;
const ON_WITHIN_MS = 10_000;
const SIDES: readonly (readonly [string, (at: Site) => FaultProxy])[] = [
  ["callers' links", ({ callerSide }) => callerSide],
  ["the agent's links", ({ agentSide }) => agentSide],
];

describe.each([1, 20])("2,000 streams of %d callers", (callers) => {
  let streams: readonly MuxStream[] = [];

  test("are open", async () => {
    const links = Array.from({ length: callers }, (_, index) => site().link(`caller-${callers}-${index}`));
    const opened = await Promise.all(links.map((link) => openEchoes(link, STREAMS / callers)));
    streams = opened.flat();
    expect(streams).toHaveLength(STREAMS);
  });

  test.each(SIDES)("all go on when %s are reset", async (name, sideOf) => {
    const from = performance.now();
    sideOf(site()).begin(CUT)();
    await allAnswer(streams);
    await expectWithin(`2,000 streams of ${callers} callers, ${name} reset`, ON_WITHIN_MS, performance.now() - from);
  });

  test("all finish", async () => {
    await finishAll(streams);
  });
});
