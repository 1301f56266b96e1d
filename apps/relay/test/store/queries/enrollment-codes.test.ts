import { parseClusterId, parseKeyId } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import { findAgentKey, findRevoked, revokeAgentKey } from "../../../src/store/queries/agent-keys.ts";
import { listClusters, removeCluster } from "../../../src/store/queries/clusters.ts";
import { addEnrollmentCode, redeemEnrollmentCode } from "../../../src/store/queries/enrollment-codes.ts";
import type { Store } from "../../../src/store/store.ts";
import { describeStores, type TestDatabase } from "../../support/stores.ts";

const NOW = new Date("2026-01-01T00:00:00Z");
const LATER = new Date("2026-01-01T01:00:00Z");
const CLUSTER = parseClusterId("prod");
const KEY = parseKeyId("key-00000001");
const OTHER_KEY = parseKeyId("key-00000002");
const request = (keyId = KEY, codeHash = "hash") => ({ codeHash, keyId, publicKey: "spki", clusterAuthorities: "pem" });

async function storeWith(database: TestDatabase): Promise<Store> {
  const store = await database.open(await database.newPlace());
  await addEnrollmentCode(store.db, { clusterId: CLUSTER, hash: "hash", expiresAt: LATER }, NOW);
  return store;
}

const REFUSED = { code: "CC_ENROLLMENT_CODE_INVALID" };

describeStores((database) => {
  const storeWithCode = (): Promise<Store> => storeWith(database);

  test("a code enrolls a key and records the cluster's authorities", async () => {
    const { db } = await storeWithCode();
    await expect(redeemEnrollmentCode(db, request(), NOW)).resolves.toBe("prod");
    await expect(findAgentKey(db, KEY)).resolves.toEqual({
      keyId: KEY,
      clusterId: "prod",
      publicKey: "spki",
      clusterUid: undefined,
      setsClusterUid: true,
    });
    expect(await listClusters(db)).toEqual([{ id: "prod", authorities: "pem", lastSeenAt: undefined }]);
  });

  test("a code works once, but the key that used it may hear the answer again", async () => {
    const { db } = await storeWithCode();
    await redeemEnrollmentCode(db, request(), NOW);
    await expect(redeemEnrollmentCode(db, request(OTHER_KEY), NOW)).rejects.toMatchObject(REFUSED);
    await expect(redeemEnrollmentCode(db, request(), LATER)).resolves.toBe("prod");
  });

  test("of many that use one code at once a single one gets in", async () => {
    const { db } = await storeWithCode();
    const keys = Array.from({ length: 20 }, (_, index) => parseKeyId(`key-${String(index).padStart(8, "0")}`));
    const results = await Promise.allSettled(keys.map((keyId) => redeemEnrollmentCode(db, request(keyId), NOW)));
    expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  });

  test("a code that is unknown or expired is refused with the same words", async () => {
    const { db } = await storeWithCode();
    const unknown = await redeemEnrollmentCode(db, request(KEY, "other"), NOW).catch((error: unknown) => error);
    const expired = await redeemEnrollmentCode(db, request(), LATER).catch((error: unknown) => error);
    expect(unknown).toMatchObject(REFUSED);
    expect(expired).toEqual(unknown);
    expect(await findAgentKey(db, KEY)).toBeUndefined();
  });

  test("a second code adds a second key to the same cluster", async () => {
    const { db } = await storeWithCode();
    await addEnrollmentCode(db, { clusterId: CLUSTER, hash: "second", expiresAt: LATER }, NOW);
    await redeemEnrollmentCode(db, request(), NOW);
    await redeemEnrollmentCode(db, request(OTHER_KEY, "second"), NOW);
    expect(await findAgentKey(db, OTHER_KEY)).toMatchObject({ clusterId: "prod" });
  });

  test("a code for another cluster than the one that is asked for is refused, and not used up", async () => {
    const { db } = await storeWithCode();
    await expect(redeemEnrollmentCode(db, { ...request(), clusterId: "test" }, NOW)).rejects.toMatchObject(REFUSED);
    expect(await findAgentKey(db, KEY)).toBeUndefined();
    await expect(redeemEnrollmentCode(db, { ...request(), clusterId: CLUSTER }, NOW)).resolves.toBe("prod");
  });

  test("a code for a cluster that is disabled lets nothing in", async () => {
    const { db } = await storeWithCode();
    await db.updateTable("clusters").set({ disabled_at: NOW.toISOString() }).execute();
    await expect(redeemEnrollmentCode(db, request(), NOW)).rejects.toMatchObject(REFUSED);
    await db.updateTable("clusters").set({ disabled_at: null }).execute();
    await expect(redeemEnrollmentCode(db, request(), NOW)).resolves.toBe("prod");
  });

  test("a cluster that is removed goes with its keys and codes alone, and may be enrolled anew with the same key", async () => {
    const store = await storeWithCode();
    const { db } = store;
    await redeemEnrollmentCode(db, request(), NOW);
    await addEnrollmentCode(db, { clusterId: CLUSTER, hash: "unused", expiresAt: LATER }, NOW);
    const other = parseClusterId("other");
    await addEnrollmentCode(db, { clusterId: other, hash: "others", expiresAt: LATER }, NOW);
    await redeemEnrollmentCode(db, request(OTHER_KEY, "others"), NOW);
    expect(await removeCluster(store, CLUSTER, { actor: "root", at: NOW })).toEqual({ keys: 1, codes: 2 });
    expect(await removeCluster(store, CLUSTER, { actor: "root", at: NOW })).toBeUndefined();
    expect((await listClusters(db)).map(({ id }) => id)).toEqual(["other"]);
    expect(await findRevoked(db, [KEY, OTHER_KEY])).toEqual(new Set([KEY]));
    await expect(redeemEnrollmentCode(db, request(KEY, "unused"), NOW)).rejects.toMatchObject(REFUSED);
    await addEnrollmentCode(db, { clusterId: CLUSTER, hash: "anew", expiresAt: LATER }, NOW);
    await expect(redeemEnrollmentCode(db, request(KEY, "anew"), NOW)).resolves.toBe("prod");
    const entries = await db
      .selectFrom("audit")
      .select(["actor", "detail"])
      .where("event", "=", "cluster.removed")
      .execute();
    expect(entries).toEqual([{ actor: "root", detail: '{"keys":1,"codes":2}' }]);
  });

  test("who enrolls while the cluster is removed goes with it, or is refused", async () => {
    const store = await database.open(await database.newPlace());
    for (const index of Array(20).keys()) {
      const clusterId = parseClusterId(`prod-${index}`);
      const hash = `hash-${index}`;
      const keyId = parseKeyId(`key-${String(index).padStart(8, "0")}`);
      await addEnrollmentCode(store.db, { clusterId, hash, expiresAt: LATER }, NOW);
      const [enrolled, removed] = await Promise.allSettled([
        redeemEnrollmentCode(store.db, request(keyId, hash), NOW),
        removeCluster(store, clusterId, { actor: "root", at: NOW }),
      ]);
      const keys = enrolled.status === "fulfilled" ? 1 : 0;
      expect(removed).toEqual({ status: "fulfilled", value: { keys, codes: 1 } });
      expect(await findAgentKey(store.db, keyId)).toBeUndefined();
    }
  });

  test("a key that another cluster has is not enrolled again", async () => {
    const { db } = await storeWithCode();
    await redeemEnrollmentCode(db, request(), NOW);
    await addEnrollmentCode(db, { clusterId: parseClusterId("test"), hash: "second", expiresAt: LATER }, NOW);
    await expect(redeemEnrollmentCode(db, request(KEY, "second"), NOW)).rejects.toMatchObject(REFUSED);
  });

  test("a revoked key is no longer found", async () => {
    const { db } = await storeWithCode();
    await redeemEnrollmentCode(db, request(), NOW);
    expect(await findRevoked(db, [KEY])).toEqual(new Set());
    await expect(revokeAgentKey(db, KEY, NOW)).resolves.toMatchObject({ clusterId: "prod", was: "active" });
    expect(await findAgentKey(db, KEY)).toBeUndefined();
    expect(await findRevoked(db, [KEY])).toEqual(new Set([KEY]));
    await expect(revokeAgentKey(db, KEY, NOW)).resolves.toBeUndefined();
  });

  test("what happened is in the audit table, and the code by its id", async () => {
    const { db } = await storeWithCode();
    await redeemEnrollmentCode(db, request(), NOW);
    await revokeAgentKey(db, KEY, LATER);
    const rows = await db.selectFrom("audit").selectAll().orderBy("id").execute();
    expect(rows.map(({ event, actor }) => [event, actor])).toEqual([
      ["enrollment.code.made", "operator"],
      ["agent.enrolled", KEY],
      ["agent.key.revoked", "operator"],
    ]);
    const [made] = rows.map(({ detail }): unknown => JSON.parse(detail));
    expect(made).toEqual({ codeId: "hash", expiresAt: LATER.toISOString(), maxUses: 1 });
  });

  test("a code for three keys lets in three, also when many ask at once", async () => {
    const { db } = await storeWithCode();
    await addEnrollmentCode(db, { clusterId: CLUSTER, hash: "three", expiresAt: LATER, maxUses: 3 }, NOW);
    const keys = Array.from({ length: 10 }, (_, index) => parseKeyId(`key-${String(index).padStart(8, "0")}`));
    const results = await Promise.allSettled(
      keys.map((keyId) => redeemEnrollmentCode(db, request(keyId, "three"), NOW)),
    );
    expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(3);
  });

  test("a key that asks many times at once is enrolled once and hears the same each time", async () => {
    const { db } = await storeWithCode();
    const asked = Array.from({ length: 5 }, () => redeemEnrollmentCode(db, request(), NOW));
    await expect(Promise.all(asked)).resolves.toEqual(["prod", "prod", "prod", "prod", "prod"]);
    expect(await db.selectFrom("agent_keys").selectAll().execute()).toHaveLength(1);
  });
});
