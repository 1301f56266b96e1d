import { type AgentProof, type ClusterUid, parseClusterUid } from "@cluster-connect/protocol";
import { createInstanceId } from "@cluster-connect/service";
import { expect, test, vi } from "vitest";
import { ask } from "../support/admin.ts";
import {
  dialAgent,
  dialCli,
  enrollAgent,
  type Fixture,
  openRequest,
  opsToken,
  PROD,
  startFixture,
  type TestAgent,
} from "../support/fixture.ts";

const [OWN, COPY, THIRD] = [
  parseClusterUid("uid-of-the-first"),
  parseClusterUid("uid-of-the-copy"),
  parseClusterUid("third"),
];
const DUPLICATE = { code: "CC_CLUSTER_DUPLICATE" };

/** Dials as an agent of the cluster with this UID; a copy has the same key and another instance id. */
const dial = (fixture: Fixture, agent: TestAgent, clusterUid: ClusterUid | undefined) =>
  dialAgent(
    fixture,
    { ...agent, instanceId: createInstanceId() },
    { tamper: (proof): AgentProof => (clusterUid === undefined ? proof : { ...proof, clusterUid }) },
  );

const decide = (fixture: Fixture, uid: string, decision: string) =>
  ask(fixture, "POST", "/v1/admin/clusters/prod/uid", { body: { uid, decision } });

const shown = async (fixture: Fixture) => (await ask(fixture, "GET", "/v1/admin/clusters/prod")).body;
const listed = async (fixture: Fixture) => (await ask(fixture, "GET", "/v1/clusters", { as: "jane" })).body;

async function readAudit({ store }: Fixture, event: string) {
  const rows = await store.db.selectFrom("audit").selectAll().where("event", "=", event).execute();
  return rows.map(({ actor, detail }) => ({ actor, detail: JSON.parse(detail) }));
}

async function withCopy(): Promise<{ readonly fixture: Fixture; readonly agent: TestAgent }> {
  const fixture = await startFixture();
  const agent = await enrollAgent(fixture);
  await (await dial(fixture, agent, OWN)).ready;
  await expect((await dial(fixture, agent, COPY)).ready).rejects.toMatchObject(DUPLICATE);
  return { fixture, agent };
}

test("a restored copy of a cluster is refused, and administrators and callers are told", async () => {
  const { fixture, agent } = await withCopy();
  await expect((await dial(fixture, agent, COPY)).ready).rejects.toMatchObject(DUPLICATE);
  expect(fixture.log.lines.filter(({ event }) => event === "cluster.uid.pending")).toHaveLength(1);
  expect(fixture.relay.registry.view(PROD).agents).toHaveLength(1);
  expect(await shown(fixture)).toMatchObject({ uid: OWN, pendingUid: COPY, pendingUidSince: expect.any(String) });
  expect(await listed(fixture)).toMatchObject({ clusters: [{ pendingUid: COPY }] });
  await expect
    .poll(() => readAudit(fixture, "cluster.uid.pending"))
    .toMatchObject([{ actor: agent.key.keyId, detail: { uid: COPY, formerUid: OWN } }]);
  await expect.poll(() => readAudit(fixture, "agent.refused")).not.toEqual([]);
});

test("an agent of the version before, which tells no UID, is let in as before", async () => {
  const fixture = await startFixture();
  const agent = await enrollAgent(fixture);
  await (await dial(fixture, agent, undefined)).ready;
  await (await dial(fixture, agent, OWN)).ready;
  await (await dial(fixture, agent, undefined)).ready;
  expect(await shown(fixture)).toMatchObject({ uid: OWN, pendingUid: null });
});

test("new streams go to an agent that tells the UID, as long as there is one", async () => {
  const fixture = await startFixture();
  const agent = await enrollAgent(fixture);
  const instanceId = createInstanceId();
  await (await dial(fixture, agent, undefined)).ready;
  const tamper = (proof: AgentProof): AgentProof => ({ ...proof, clusterUid: OWN });
  await (await dialAgent(fixture, { ...agent, instanceId }, { tamper })).ready;
  await vi.waitUntil(() => fixture.relay.registry.tunnels().length === 2, { timeout: 30_000 });
  const cli = await dialCli(fixture, await opsToken(fixture));
  for (let opened = 0; opened < 4; opened += 1) {
    expect(await cli.open(openRequest()).accepted).toMatchObject({ instanceId });
  }
});

test("one command puts the copy in the former's place: its tunnels end, and it is refused from then on", async () => {
  const fixture = await startFixture();
  const agent = await enrollAgent(fixture);
  const first = await dial(fixture, agent, OWN);
  await first.ready;
  await expect((await dial(fixture, agent, COPY)).ready).rejects.toMatchObject(DUPLICATE);
  expect(await decide(fixture, THIRD, "accepted")).toMatchObject({ status: 400 });
  expect(await decide(fixture, "no uid", "accepted")).toMatchObject({ status: 400 });
  expect(await decide(fixture, COPY, "accepted")).toMatchObject({ status: 200 });
  expect(await decide(fixture, COPY, "accepted")).toMatchObject({ status: 400 });
  await expect(first.closed).resolves.toMatchObject({ ...DUPLICATE, by: "peer" });
  await (await dial(fixture, agent, COPY)).ready;
  await expect((await dial(fixture, agent, OWN)).ready).rejects.toMatchObject(DUPLICATE);
  expect(await shown(fixture)).toMatchObject({ uid: COPY, pendingUid: null, pendingUidSince: null });
  expect(await readAudit(fixture, "cluster.uid.accepted")).toMatchObject([
    { actor: "root", detail: { uid: COPY, formerUid: OWN } },
  ]);
});

test("a decision survives a restart of the relay: a refused copy stays refused and is not told again", async () => {
  const { fixture: before, agent } = await withCopy();
  expect(await decide(before, COPY, "rejected")).toMatchObject({ status: 200 });
  expect(await listed(before)).toMatchObject({ clusters: [{ pendingUid: null }] });
  await before.stop();
  const fixture = await startFixture({ after: before });
  await expect((await dial(fixture, agent, COPY)).ready).rejects.toMatchObject(DUPLICATE);
  await (await dial(fixture, agent, OWN)).ready;
  expect(await shown(fixture)).toMatchObject({ uid: OWN, pendingUid: null });
  // A person who refused it by mistake need not wait for it to be told.
  expect(await decide(fixture, COPY, "accepted")).toMatchObject({ status: 200 });
  await (await dial(fixture, agent, COPY)).ready;
});

test("a key that a new code let in sets the UID, once", async () => {
  const { fixture, agent } = await withCopy();
  const enrolled = await enrollAgent(fixture);
  await expect((await dial(fixture, agent, COPY)).ready).rejects.toMatchObject(DUPLICATE);
  await (await dial(fixture, enrolled, COPY)).ready;
  expect(await shown(fixture)).toMatchObject({ uid: COPY, pendingUid: null });
  await expect((await dial(fixture, enrolled, OWN)).ready).rejects.toMatchObject(DUPLICATE);
});

test("a caller may not decide", async () => {
  const { fixture } = await withCopy();
  const body = { uid: COPY, decision: "accepted" };
  const answer = await ask(fixture, "POST", "/v1/admin/clusters/prod/uid", { as: "jane", body });
  expect(answer).toMatchObject({ status: 403, body: { code: "CC_ADMIN_REQUIRED" } });
});

test("while the store is away the UID that was last known counts", async () => {
  const { fixture, agent } = await withCopy();
  // Nothing can be asked of the table until it has its name again.
  await fixture.store.db.schema.alterTable("clusters").renameTo("clusters_away").execute();
  await expect((await dial(fixture, agent, COPY)).ready).rejects.toMatchObject(DUPLICATE);
  await (await dial(fixture, agent, OWN)).ready;
  await (await dial(fixture, agent, undefined)).ready;
});
