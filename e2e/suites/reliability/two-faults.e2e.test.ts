import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { CUT } from "../../src/faults/cut.ts";
import type { Fault } from "../../src/faults/fault.ts";
import type { FaultProxy } from "../../src/faults/fault-proxy.ts";
import { HALF_OPEN } from "../../src/faults/half-open.ts";
import { STALL } from "../../src/faults/stall.ts";
import { expectWithin } from "../support/reliability/promise.ts";
import { type Site, useSite } from "../support/reliability/site.ts";
import { allAnswer, finishAll, openEchoes } from "../support/reliability/streams.ts";

const site = useSite();

const STREAMS = 50;
const LASTING_MS = 3_000;
const ON_WITHIN_MS = 10_000;

/** Begins a fault, and resolves when it is over. */
type Break = (at: Site) => Promise<void>;

const onLink =
  (side: (at: Site) => FaultProxy, fault: Fault): Break =>
  async (at) => {
    const end = side(at).begin(fault);
    await delay(LASTING_MS);
    end();
  };
const callers = ({ callerSide }: Site): FaultProxy => callerSide;
const agents = ({ agentSide }: Site): FaultProxy => agentSide;

const killRelay: Break = async ({ relay }) => {
  relay.program.signal("SIGKILL");
  await relay.program.ended;
  await relay.start();
};
const stopRelay: Break = async ({ relay }) => {
  relay.program.signal("SIGSTOP");
  await delay(LASTING_MS);
  relay.program.signal("SIGCONT");
};
const stopAgent: Break = async ({ agent }) => {
  agent.program?.signal("SIGSTOP");
  await delay(LASTING_MS);
  agent.program?.signal("SIGCONT");
};

const PAIRS: readonly (readonly [string, Break, Break])[] = [
  ["both links are reset", onLink(callers, CUT), onLink(agents, CUT)],
  ["the callers' link is reset, the agent's stalls", onLink(callers, CUT), onLink(agents, STALL)],
  ["the callers' link loses everything, the agent's is reset", onLink(callers, HALF_OPEN), onLink(agents, CUT)],
  ["the relay is killed, the callers' link stalls", killRelay, onLink(callers, STALL)],
  ["the relay is killed, the agent's link is reset", killRelay, onLink(agents, CUT)],
  ["the relay is killed, the agent is stopped", killRelay, stopAgent],
  ["the relay is stopped, the callers' link is reset", stopRelay, onLink(callers, CUT)],
  ["the relay is stopped, the agent's link loses everything", stopRelay, onLink(agents, HALF_OPEN)],
  ["the relay and the agent are stopped", stopRelay, stopAgent],
  ["the agent is stopped, the callers' link is reset", stopAgent, onLink(callers, CUT)],
  ["the agent is stopped, its link is reset", stopAgent, onLink(agents, CUT)],
];

describe(`${STREAMS} streams, two faults at once`, () => {
  test.each(PAIRS)("nothing is lost when %s", async (name, first, second) => {
    const streams = await openEchoes(site().link(name), STREAMS);
    await Promise.all([first(site()), second(site())]);
    const from = performance.now();
    await allAnswer(streams);
    await expectWithin(`two faults: ${name}`, ON_WITHIN_MS, performance.now() - from);
    await finishAll(streams);
    expect(streams).toHaveLength(STREAMS);
  });
});
