import { expect, test } from "vitest";
import { waitForLogEvent } from "../../src/process/log-events.ts";
import { expectWithin } from "../support/reliability/promise.ts";
import { useSite } from "../support/reliability/site.ts";
import { allAnswer, finishAll, openEchoes } from "../support/reliability/streams.ts";
import { NO_END } from "../support/stack.ts";

const site = useSite();

const STREAMS = 50;
const ENDED_WITHIN_MS = 2_000;

test("an agent is killed and replaced: its streams end with the reason as soon as the next one is there", async () => {
  const { agent } = site();
  const link = site().link();
  const streams = await openEchoes(link, STREAMS);
  const killed = agent.program;
  killed?.signal("SIGKILL");
  await killed?.ended;
  await agent.start();
  const { program } = agent;
  if (program === undefined) throw new Error("no agent runs");
  const open = await waitForLogEvent(program, ({ event }) => event === "tunnel.open", { signal: NO_END });
  const ends = await Promise.all(streams.map((stream) => stream.done));
  await expectWithin("agent killed and replaced", ENDED_WITHIN_MS, Date.now() - Date.parse(String(open["time"])));
  for (const end of ends) expect(end).toMatchObject({ kind: "reset", error: { code: "CC_AGENT_REPLACED" } });
});

test("streams of the agent in its place are served, and survive the relay's end", async () => {
  const { relay } = site();
  const streams = await openEchoes(site().link("other"), STREAMS);
  relay.program.signal("SIGKILL");
  await relay.program.ended;
  await relay.start();
  await allAnswer(streams);
  await finishAll(streams);
});
