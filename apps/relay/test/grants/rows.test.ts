import { parseClusterId } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import type { GrantSpec } from "../../src/grants/grant.ts";
import { createGrantRows } from "../../src/grants/rows.ts";
import { makeCluster } from "../../src/store/queries/clusters.ts";
import { addGrantRow, removeGrantRow } from "../../src/store/queries/grants.ts";
import { describeStores } from "../support/stores.ts";

const BY = { actor: "root", at: new Date("2026-01-01T00:00:00Z") };
const SPEC: GrantSpec = { clusters: ["*"], issuer: "https://issuer.test", condition: 'claims["team"] == "platform"' };

describeStores((database) => {
  async function setUp() {
    const store = await database.open(await database.newPlace());
    for (const id of ["api/1", "api/2"]) await addGrantRow(store.db, { id, spec: SPEC }, BY);
    await makeCluster(store.db, { clusterId: parseClusterId("prod"), labels: { env: "prod" } }, BY);
    return { store, read: createGrantRows(store.db) };
  }

  test("without any change the answer is the same, to the object", async () => {
    const { read } = await setUp();
    const first = await read();
    expect(first.grants.map(({ id }) => id)).toEqual(["api/1", "api/2"]);
    expect(await read()).toBe(first);
  });

  test("of many grants the changed one alone is compiled again", async () => {
    const { store, read } = await setUp();
    const before = await read();
    await addGrantRow(store.db, { id: "api/3", spec: SPEC }, BY);
    const after = await read();
    expect(after.grants.map(({ id }) => id)).toEqual(["api/1", "api/2", "api/3"]);
    expect(after.grants[0]).toBe(before.grants[0]);
    expect(after.labels.get("prod")).toBe(before.labels.get("prod"));
    await removeGrantRow(store.db, "api/1", BY);
    expect((await read()).grants.map(({ id }) => id)).toEqual(["api/2", "api/3"]);
    const spec = JSON.stringify({ ...SPEC, clusters: ["prod"] });
    await store.db.updateTable("grants").set({ spec }).where("id", "=", "api/2").execute();
    expect((await read()).grants.map((grant) => grant.spec.clusters)).toEqual([["prod"], ["*"]]);
  });

  test("a row that becomes invalid is left out and told, and counts again once it is mended", async () => {
    const { store, read } = await setUp();
    const change = async (spec: string) =>
      await store.db.updateTable("grants").set({ spec }).where("id", "=", "api/1").execute();
    await read();
    await change("{");
    const broken = await read();
    expect([broken.grants.map(({ id }) => id), broken.problems]).toEqual([
      ["api/2"],
      [expect.stringMatching(/^api\/1: /)],
    ]);
    expect(await read()).toBe(broken);
    await change(JSON.stringify(SPEC));
    expect(await read()).toMatchObject({ grants: [{ id: "api/1" }, { id: "api/2" }], problems: [] });
  });

  test("labels of a cluster that is disabled are gone, and those that changed are read anew", async () => {
    const { store, read } = await setUp();
    const change = async (set: { labels?: string; disabled_at?: string }) =>
      await store.db.updateTable("clusters").set(set).where("id", "=", "prod").execute();
    await read();
    await change({ labels: '{"env":"test"}' });
    expect([...(await read()).labels]).toEqual([["prod", { env: "test" }]]);
    await change({ disabled_at: "2026-01-01T00:00:00.000Z" });
    expect([...(await read()).labels]).toEqual([]);
  });

  test("other work has its turn while many conditions are compiled", async () => {
    const { store, read } = await setUp();
    const rows = Array.from({ length: 200 }, (_, number) => ({
      id: `api/many-${number}`,
      created_at: BY.at.toISOString(),
      created_by: "root",
      expires_at: null,
      spec: JSON.stringify(SPEC),
    }));
    await store.db.insertInto("grants").values(rows).execute();
    let turns = 0;
    let over = false;
    const look = (): void => {
      turns += 1;
      if (!over) setImmediate(look);
    };
    look();
    const before = turns;
    expect((await read()).grants).toHaveLength(202);
    over = true;
    expect(turns - before).toBeGreaterThanOrEqual(20);
  });
});
