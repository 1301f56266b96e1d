import type { MuxStream } from "@cluster-connect/framing";
import { describe, expect, test } from "vitest";
import { CUT } from "../../src/faults/cut.ts";
import type { FaultProxy } from "../../src/faults/fault-proxy.ts";
import { patternBytes } from "../../src/faults/pattern.ts";
import { expectWithin } from "../support/reliability/promise.ts";
import { type Site, SOURCE, useSite } from "../support/reliability/site.ts";
import { allAnswer, finishAll, openEchoes } from "../support/reliability/streams.ts";
import { NO_END } from "../support/stack.ts";

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

describe("more than an agent may hold without a tunnel", () => {
  /** Room for 25 streams that hold little, and for five whose windows of 256 KiB are full. */
  const small = useSite({ agentLimits: { suspendedMebibytes: 1 } });
  const DOWNLOADS = 20;
  const BYTES = 1_048_576;

  /** A download whose reader pauses, so that the agent holds what it may. */
  async function openPaused(link: ReturnType<Site["link"]>): Promise<MuxStream> {
    const stream = await link.open(SOURCE, { signal: NO_END });
    stream.on("error", () => undefined);
    const asked = Buffer.alloc(4);
    asked.writeUInt32BE(BYTES);
    stream.end(asked);
    await stream.accepted;
    return stream;
  }

  async function read(stream: MuxStream): Promise<string> {
    const chunks: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => chunks.push(Buffer.from(chunk)));
    const end = await stream.done;
    if (end.kind === "reset") return end.error.code;
    return Buffer.concat(chunks).equals(patternBytes(BYTES)) ? "whole" : "spoilt";
  }

  test("is told to the streams beyond that by a code of its own, and the others go on", async () => {
    const { link, agentMetrics, agentSide } = small();
    const caller = link("downloads");
    const streams: MuxStream[] = [];
    for (let count = 0; count < DOWNLOADS; count += 1) streams.push(await openPaused(caller));
    const heldMib = async (): Promise<number> => ((await agentMetrics()).get("stream_retained_bytes") ?? 0) / BYTES;
    await expect.poll(heldMib, { timeout: 60_000 }).toBeGreaterThan(3);
    const from = performance.now();
    agentSide.begin(CUT)();
    const outcomes = await Promise.all(streams.map(read));
    await expectWithin("more streams than an agent holds", ON_WITHIN_MS, performance.now() - from);
    const kept = outcomes.filter((outcome) => outcome === "whole");
    expect(outcomes.filter((outcome) => outcome !== "whole" && outcome !== "CC_RESUME_FULL")).toEqual([]);
    expect(kept.length).toBeGreaterThan(0);
    expect(kept.length).toBeLessThan(DOWNLOADS);
  });
});
