import { parseClusterId, parseKeyId } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import {
  addClusterWithKey,
  findAgentKey,
  listAgentKeys,
  revokeAgentKey,
} from "../../../src/store/queries/agent-keys.ts";
import { markSeen } from "../../../src/store/queries/clusters.ts";
import { addRotatedKey, dropAbandonedKeys, retireReplacedKeys } from "../../../src/store/queries/key-rotation.ts";
import type { Store } from "../../../src/store/store.ts";
import { describeStores } from "../../support/stores.ts";

const NOW = new Date("2026-03-01T00:00:00Z");
const PROD = parseClusterId("prod");
const [FORMER, NEXT, OTHER] = [parseKeyId("former-key"), parseKeyId("next-key"), parseKeyId("other-key")];
const after = (days: number): Date => new Date(NOW.getTime() + days * 86_400_000);

async function withKeys(store: Store): Promise<void> {
  await addClusterWithKey(store.db, { clusterId: PROD, key: { keyId: FORMER, publicKey: "PEM" } }, NOW);
  await rotate(store, NEXT);
}

const rotate = (store: Store, keyId: typeof NEXT): Promise<void> =>
  addRotatedKey(store.db, { keyId, clusterId: PROD, publicKey: "PEM" }, FORMER, NOW);

async function statesOf({ db }: Store): Promise<Readonly<Record<string, string>>> {
  return Object.fromEntries((await listAgentKeys(db)).map(({ keyId, state }) => [keyId, state]));
}

const use = ({ db }: Store, keyId: typeof NEXT): Promise<void> =>
  markSeen(db, { clusterIds: [PROD], keyIds: [keyId] }, NOW);

describeStores(({ newPlace, open }) => {
  test("a key of a rotation that nobody uses is dropped after its deadline, and stays out", async () => {
    const store = await open(await newPlace());
    await withKeys(store);
    expect(await statesOf(store)).toEqual({ [FORMER]: "active", [NEXT]: "pending" });
    expect(await dropAbandonedKeys(store.db, after(6.9))).toEqual([]);
    expect(await dropAbandonedKeys(store.db, after(7))).toEqual([NEXT]);
    expect(await dropAbandonedKeys(store.db, after(7))).toEqual([]);
    expect(await statesOf(store)).toEqual({ [FORMER]: "active" });
    await expect(rotate(store, NEXT)).rejects.toMatchObject({ code: "CC_AGENT_KEY_REFUSED" });
    const audit = await store.db.selectFrom("audit").select("event").where("event", "like", "%abandoned").execute();
    expect(audit).toHaveLength(1);
  });

  test("a key that was used once is never taken for abandoned, nor one that was enrolled and waits", async () => {
    const store = await open(await newPlace());
    await withKeys(store);
    await use(store, NEXT);
    expect(await statesOf(store)).toEqual({ [FORMER]: "active", [NEXT]: "active" });
    expect(await dropAbandonedKeys(store.db, after(400))).toEqual([]);
  });

  test("a key whose tunnel is open is not dropped, although its use is not written down yet", async () => {
    const store = await open(await newPlace());
    await withKeys(store);
    const relay = { id: "relay-0001", address: "", software: "x", started_at: NOW.toISOString() };
    await store.db
      .insertInto("relays")
      .values({ ...relay, lease_until: after(9).toISOString() })
      .execute();
    const tunnel = {
      id: "t",
      cluster_id: PROD,
      agent_instance_id: "a",
      key_id: NEXT,
      relay_id: relay.id,
      software: "x",
    };
    const probe = { since: NOW.toISOString(), open_streams: 0, probe: "pending" };
    await store.db
      .insertInto("tunnels")
      .values({ ...tunnel, ...probe })
      .execute();
    expect(await dropAbandonedKeys(store.db, after(8))).toEqual([]);
  });

  test("a revoked key takes the keys with it that it let in and nobody used, and names those that are used", async () => {
    const store = await open(await newPlace());
    await withKeys(store);
    await rotate(store, OTHER);
    await use(store, OTHER);
    const revoked = await revokeAgentKey(store.db, FORMER, NOW);
    expect(revoked).toEqual({ clusterId: PROD, was: "active", dropped: [NEXT], left: [OTHER] });
    expect(await findAgentKey(store.db, NEXT)).toBeUndefined();
    expect(await statesOf(store)).toEqual({ [OTHER]: "active" });
  });

  test("a rotation that was begun twice leaves nothing of the first time", async () => {
    const store = await open(await newPlace());
    await withKeys(store);
    await rotate(store, OTHER);
    await use(store, OTHER);
    expect(await retireReplacedKeys(store.db, after(1))).toEqual([FORMER]);
    expect(await statesOf(store)).toEqual({ [OTHER]: "active" });
  });
});
