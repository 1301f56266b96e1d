import { createInstanceId } from "@cluster-connect/service";
import { expect, test, vi } from "vitest";
import { dialAgent, enrollAgent, type Fixture, PROD, startFixture, type TestAgent } from "../support/fixture.ts";

const sharing = (agent: TestAgent): TestAgent => ({ ...agent, instanceId: createInstanceId() });

async function isKnown({ store }: Fixture, count: number): Promise<void> {
  await vi.waitUntil(async () => (await store.db.selectFrom("tunnels").select("id").execute()).length === count, {
    timeout: 30_000,
  });
}

test("more agents with one key than may are told, with all of them, and go on", async () => {
  const fixture = await startFixture({ config: { agents: { perKey: 2, policy: "alert" } } });
  const agent = await enrollAgent(fixture);
  const sessions = [agent, sharing(agent), sharing(agent)].map((one) => dialAgent(fixture, one));
  for (const session of sessions) await (await session).ready;
  await fixture.log.once("agent.key.shared");
  const told = fixture.log.lines.find(({ event }) => event === "agent.key.shared");
  expect(told?.["agents"]).toHaveLength(3);
  expect(fixture.relay.registry.view(PROD).agents).toHaveLength(3);
});

test("where they are to be replaced the oldest ends, and does not come back", async () => {
  const fixture = await startFixture({ config: { agents: { perKey: 1, policy: "replace" } } });
  const agent = await enrollAgent(fixture);
  const first = await dialAgent(fixture, agent);
  await first.ready;
  await isKnown(fixture, 1);
  const second = await dialAgent(fixture, sharing(agent));
  await second.ready;
  await expect(first.closed).resolves.toMatchObject({ code: "CC_AGENT_KEY_REFUSED" });
  await expect((await dialAgent(fixture, agent)).ready).rejects.toMatchObject({ code: "CC_AGENT_KEY_REFUSED" });
  expect(second.state).toBe("open");
});

test("replicas within the limit are nobody's business", async () => {
  const fixture = await startFixture({ config: { agents: { perKey: 2, policy: "replace" } } });
  const agent = await enrollAgent(fixture);
  const sessions = [await dialAgent(fixture, agent), await dialAgent(fixture, sharing(agent))];
  for (const session of sessions) await session.ready;
  await isKnown(fixture, 2);
  await fixture.log.once("cluster.state");
  expect(fixture.log.lines.some(({ event }) => event === "agent.key.shared")).toBe(false);
  expect(sessions.map(({ state }) => state)).toEqual(["open", "open"]);
});

test("who has another key cannot have an agent sent away by taking its name", async () => {
  const fixture = await startFixture({ config: { agents: { perKey: 1, policy: "replace" } } });
  const victim = await enrollAgent(fixture);
  const thief = { ...(await enrollAgent(fixture)), instanceId: victim.instanceId };
  const own = await dialAgent(fixture, victim);
  await own.ready;
  const first = await dialAgent(fixture, thief);
  await first.ready;
  await isKnown(fixture, 2);
  await (await dialAgent(fixture, sharing(thief))).ready;
  await expect(first.closed).resolves.toMatchObject({ code: "CC_AGENT_KEY_REFUSED" });
  await expect((await dialAgent(fixture, victim)).ready).resolves.toBeDefined();
  expect(own.state).toBe("open");
});
