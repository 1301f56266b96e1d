import { generateAgentKey, signChallenge } from "@cluster-connect/auth";
import { type ClusterId, keyRotationInput, parseClusterId } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import { findAgentKey, revokeAgentKey } from "../../../src/store/queries/agent-keys.ts";
import { markSeen } from "../../../src/store/queries/clusters.ts";
import { retireReplacedKeys } from "../../../src/store/queries/key-rotation.ts";
import { dialAgent, enrollAgent, type Fixture, PROD, startFixture, type TestAgent } from "../../support/fixture.ts";

interface Change {
  readonly authority?: string;
  readonly clusterId?: ClusterId;
  readonly at?: string;
  readonly signedBy?: TestAgent["key"];
  readonly newSignedBy?: TestAgent["key"];
}

async function ask(fixture: Fixture, former: TestAgent["key"], next: TestAgent["key"], change: Change = {}) {
  const at = change.at ?? new Date().toISOString();
  const authority = change.authority ?? fixture.url.host;
  const clusterId = change.clusterId ?? PROD;
  const input = keyRotationInput({ authority, clusterId, keyId: former.keyId, newKeyId: next.keyId, at });
  const response = await fetch(new URL("/v1/agent/keys", fixture.url), {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      keyId: former.keyId,
      publicKey: next.publicKey,
      at,
      signature: signChallenge(change.signedBy ?? former, input),
      newSignature: signChallenge(change.newSignedBy ?? next, input),
    }),
  });
  return { status: response.status, body: await response.json() };
}

test("a new key is taken on the former one's signature, and opens a tunnel beside it", async () => {
  const fixture = await startFixture();
  const agent = await enrollAgent(fixture);
  const first = await dialAgent(fixture, agent);
  await first.ready;
  const key = generateAgentKey();
  await expect(ask(fixture, agent.key, key)).resolves.toMatchObject({
    status: 200,
    body: { clusterId: "prod", keyId: key.keyId },
  });
  await expect(ask(fixture, agent.key, key)).resolves.toMatchObject({ status: 200 });
  await expect((await dialAgent(fixture, { ...agent, key })).ready).resolves.toBeDefined();
  expect(first.state).toBe("open");
});

test.each<[string, Change, string]>([
  ["signed by another key", { signedBy: generateAgentKey() }, "CC_CHALLENGE_FAILED"],
  ["not signed by the new key itself", { newSignedBy: generateAgentKey() }, "CC_CHALLENGE_FAILED"],
  ["signed for another relay", { authority: "relay.example.com" }, "CC_CHALLENGE_FAILED"],
  ["signed for another cluster", { clusterId: parseClusterId("other") }, "CC_CHALLENGE_FAILED"],
  ["signed long ago", { at: "2026-01-01T00:00:00.000Z" }, "CC_CHALLENGE_FAILED"],
])("a new key is refused that is %s", async (_what, change, code) => {
  const fixture = await startFixture();
  const { key: former } = await enrollAgent(fixture);
  const key = generateAgentKey();
  await expect(ask(fixture, former, key, change)).resolves.toMatchObject({ status: 403, body: { code } });
  expect(await findAgentKey(fixture.store.db, key.keyId)).toBeUndefined();
});

test("neither a revoked key nor another cluster's comes in by a rotation, and a revoked key lets none in", async () => {
  const fixture = await startFixture();
  const { key: former } = await enrollAgent(fixture);
  const other = await enrollAgent(fixture, parseClusterId("other"));
  const refused = { status: 403, body: { code: "CC_AGENT_KEY_REFUSED" } };
  await expect(ask(fixture, former, other.key)).resolves.toMatchObject(refused);
  const key = generateAgentKey();
  await ask(fixture, former, key);
  await revokeAgentKey(fixture.store.db, key.keyId, new Date());
  await expect(ask(fixture, former, key)).resolves.toMatchObject(refused);
  await revokeAgentKey(fixture.store.db, former.keyId, new Date());
  await expect(ask(fixture, former, generateAgentKey())).resolves.toMatchObject(refused);
});

test("a key lets in no more than a few that nobody uses, however often it asks; the same ones may ask again", async () => {
  const fixture = await startFixture();
  const agent = await enrollAgent(fixture);
  const keys = Array.from({ length: 10 }, generateAgentKey);
  const statuses: number[] = [];
  for (const key of keys) statuses.push((await ask(fixture, agent.key, key)).status);
  expect(statuses).toEqual([...new Array<number>(8).fill(200), 429, 429]);
  const [first, , , , , , , , last] = keys;
  if (first === undefined || last === undefined) throw new Error("no keys");
  expect(await findAgentKey(fixture.store.db, last.keyId)).toBeUndefined();
  await expect(ask(fixture, agent.key, first)).resolves.toMatchObject({ status: 200 });
  // Both, since a former key that is quiet goes with the relay's next sweep.
  await markSeen(fixture.store.db, { clusterIds: [], keyIds: [first.keyId, agent.key.keyId] }, new Date());
  await expect(ask(fixture, agent.key, last)).resolves.toMatchObject({ status: 200 });
});

test("a replaced key is dropped once the new one is used and the former one has been quiet", async () => {
  const fixture = await startFixture();
  const { key: former } = await enrollAgent(fixture);
  const key = generateAgentKey();
  await ask(fixture, former, key);
  const { db } = fixture.store;
  const now = Date.now();
  const later = new Date(now + 601_000);
  await expect(retireReplacedKeys(db, later)).resolves.toEqual([]);
  await markSeen(db, { clusterIds: [PROD], keyIds: [former.keyId, key.keyId] }, new Date(now));
  await expect(retireReplacedKeys(db, new Date(now + 1_000))).resolves.toEqual([]);
  await expect(retireReplacedKeys(db, later)).resolves.toEqual([former.keyId]);
  expect(await findAgentKey(db, former.keyId)).toBeUndefined();
  expect(await findAgentKey(db, key.keyId)).toBeDefined();
});

test("a key that asks for itself learns whether it is valid, and changes nothing", async () => {
  const fixture = await startFixture();
  const { key } = await enrollAgent(fixture);
  const keys = () => fixture.store.db.selectFrom("agent_keys").selectAll().execute();
  const before = await keys();
  await expect(ask(fixture, key, key)).resolves.toMatchObject({ status: 200 });
  expect(await keys()).toEqual(before);
  await revokeAgentKey(fixture.store.db, key.keyId, new Date());
  await expect(ask(fixture, key, key)).resolves.toMatchObject({ body: { code: "CC_AGENT_KEY_REFUSED" } });
});
