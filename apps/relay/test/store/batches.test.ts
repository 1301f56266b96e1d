import { parseClusterId, parseKeyId } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import { batches } from "../../src/store/batches.ts";
import { findRevoked } from "../../src/store/queries/agent-keys.ts";
import { makeCluster } from "../../src/store/queries/clusters.ts";
import { listClusterUids } from "../../src/store/uids/cluster-uids.ts";
import { describeStores } from "../support/stores.ts";

const NOW = new Date("2026-01-01T00:00:00Z");
/** More values than one statement of either database may have. */
const MANY = 70_000;

test.each([
  [0, []],
  [1, [1]],
  [500, [500]],
  [501, [500, 1]],
  [1_000, [500, 500]],
])("%i values are so many to a statement", (count, sizes) => {
  const found = batches(Array.from({ length: count }, (_, number) => number));
  expect(found.map(({ length }) => length)).toEqual(sizes);
  expect(found.flat()).toEqual(Array.from({ length: count }, (_, number) => number));
});

describeStores((database) => {
  test("keys of more tunnels than one statement has values are looked up", async () => {
    const store = await database.open(await database.newPlace());
    const clusterId = parseClusterId("prod");
    await makeCluster(store.db, { clusterId, labels: {} }, { actor: "root", at: NOW });
    const valid = parseKeyId("key-valid-01");
    const row = { key_id: valid, cluster_id: clusterId, public_key: "spki", created_at: NOW.toISOString() };
    await store.db.insertInto("agent_keys").values(row).execute();
    const others = Array.from({ length: MANY }, (_, number) => parseKeyId(`key-${String(number).padStart(8, "0")}`));
    const revoked = await findRevoked(store.db, [...others, valid]);
    expect(revoked.size).toBe(MANY);
    expect(revoked.has(valid)).toBe(false);
  });

  test("UIDs of more clusters than one statement has values are looked up", async () => {
    const store = await database.open(await database.newPlace());
    const clusterId = parseClusterId("prod");
    await makeCluster(store.db, { clusterId, labels: {} }, { actor: "root", at: NOW });
    const uid = "11111111-2222-4333-8444-555555555555";
    await store.db.updateTable("clusters").set({ cluster_uid: uid }).execute();
    const others = Array.from({ length: MANY }, (_, number) => parseClusterId(`other-${number}`));
    expect([...(await listClusterUids(store.db, [...others, clusterId]))]).toEqual([
      [clusterId, { uid, decidedBy: null }],
    ]);
  });
});
