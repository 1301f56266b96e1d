import { parseClusterId, parseInstanceId } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import { readClusterRecords } from "../../src/admin/cluster-records.ts";
import { Registry } from "../../src/agents/tunnels.ts";
import { verifyAudit } from "../../src/audit/verify.ts";
import { createGrantRows } from "../../src/grants/rows.ts";
import { recordAudit } from "../../src/store/queries/audit.ts";
import { readAuditEntries } from "../../src/store/queries/audit-entries.ts";
import { makeCluster } from "../../src/store/queries/clusters.ts";
import { addEnrollmentCode } from "../../src/store/queries/enrollment-codes.ts";
import { addGrantRow, removeGrantRow } from "../../src/store/queries/grants.ts";
import {
  dropSessionRows,
  findEndRequests,
  type SessionRow,
  writeSessionRows,
} from "../../src/store/queries/sessions.ts";
import type { Store } from "../../src/store/store.ts";
import { describeStores } from "../support/stores.ts";

const NOW = new Date("2026-03-01T00:00:00Z");
const RELAY = parseInstanceId("relay-0001");

const session = (id: string, clusters = "{}"): SessionRow => ({
  id,
  relay_id: RELAY,
  issuer: "i",
  subject: "s",
  username: "u",
  address: null,
  software: "x",
  since: NOW.toISOString(),
  expires_at: NOW.toISOString(),
  clusters,
  updated_at: NOW.toISOString(),
});

async function addRelay(store: Store): Promise<void> {
  const lease_until = new Date(Date.now() + 60_000).toISOString();
  const values = { id: RELAY, address: "", software: "x", started_at: NOW.toISOString(), lease_until };
  await store.db.insertInto("relays").values(values).execute();
}

describeStores(({ newPlace, open }) => {
  test("one audit chain comes of many who write at once, at two relays where there may be two", async () => {
    const where = await newPlace();
    const first = await open(where);
    // Two handles of one SQLite file in one process would wait for each other without letting the other go on.
    const second = where.kind === "sqlite" ? first : await open(where);
    const write = (store: Store, event: string): Promise<void> =>
      store.db.transaction().execute((transaction) => recordAudit(transaction, { event, actor: "a", at: NOW }));
    await Promise.all(Array.from({ length: 30 }, (_, n) => write(n % 2 === 0 ? first : second, `event.${n}`)));
    expect(await verifyAudit(first.db)).toMatchObject({ ok: true, head: { sequence: 30 } });
    const newest = await readAuditEntries(first.db, { limit: 2 });
    expect(newest.map(({ sequence }) => sequence)).toEqual([30, 29]);
    expect(await readAuditEntries(first.db, { after: 28, limit: 5, actor: "a" })).toHaveLength(2);
    await first.db.updateTable("audit").set({ actor: "b" }).where("sequence", "=", 9).execute();
    expect(await verifyAudit(first.db)).toMatchObject({ ok: false, sequence: 9 });
  });

  test("grants come back as they were written", async () => {
    const store = await open(await newPlace());
    const spec = { clusterSelector: "env=prod", groups: ["dev"], expiresAt: NOW };
    const id = "api/one";
    const by = { actor: "root", at: NOW };
    await addGrantRow(store.db, { id, spec }, by);
    const { grants } = await createGrantRows(store.db)();
    expect(grants.map((grant) => [grant.id, grant.spec])).toEqual([[id, spec]]);
    await addGrantRow(store.db, { id: "api/broken", spec: {} }, by);
    const taken = await createGrantRows(store.db)();
    expect(taken.grants.map((grant) => grant.id)).toEqual([id]);
    expect(taken.problems).toMatchObject([expect.stringContaining("api/broken: A stored grant is not valid")]);
    expect(await removeGrantRow(store.db, "api/broken", by)).toBe(true);
    expect(await removeGrantRow(store.db, id, by)).toBe(true);
    expect(await removeGrantRow(store.db, id, by)).toBe(false);
    expect((await createGrantRows(store.db)()).grants).toEqual([]);
  });

  test("a damaged row is told, hides none beside it, and can be removed", async () => {
    const store = await open(await newPlace());
    const by = { actor: "root", at: NOW };
    await addGrantRow(store.db, { id: "api/cut", spec: {} }, by);
    const spec = { clusterSelector: "env=prod", groups: ["dev"], expiresAt: new Date(NOW.getTime() + 1_000) };
    await addGrantRow(store.db, { id: "api/good", spec }, by);
    await store.db.updateTable("grants").set({ spec: '{"groups":["d' }).where("id", "=", "api/cut").execute();
    expect((await createGrantRows(store.db)()).grants.map(({ id }) => id)).toEqual(["api/good"]);
    expect(await removeGrantRow(store.db, "api/cut", by)).toBe(true);
    for (const id of ["bad-authorities", "bad-labels", "good"]) {
      await makeCluster(store.db, { clusterId: parseClusterId(id), labels: { env: "prod" } }, by);
    }
    await store.db.updateTable("clusters").set({ labels: "{" }).where("id", "=", "bad-labels").execute();
    const cut = {
      authorities: "-----BEGIN CERTIFICATE-----",
      pending_authorities: "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----",
      cluster_uid: "no uid",
      pending_cluster_uid: "\u001b[2J",
    };
    await store.db.updateTable("clusters").set(cut).where("id", "=", "bad-authorities").execute();
    const records = await readClusterRecords(
      { store, registry: new Registry({ now: Date.now, onState: () => undefined }), instanceId: RELAY },
      NOW,
      { limit: 9 },
    );
    expect(records.map(({ id, labels, fingerprint, reason }) => [id, labels, fingerprint, reason])).toEqual([
      [
        "bad-authorities",
        { env: "prod" },
        null,
        "damaged in the store: authorities, pending authorities, cluster uid, pending cluster uid",
      ],
      ["bad-labels", {}, null, "damaged in the store: labels"],
      ["good", { env: "prod" }, null, null],
    ]);
  });

  test("clusters are shown with keys, codes and the tunnels of other relays", async () => {
    const store = await open(await newPlace());
    const code = { clusterId: parseClusterId("prod"), hash: "h", expiresAt: new Date(NOW.getTime() + 1_000) };
    await addEnrollmentCode(store.db, code, NOW);
    const registry = new Registry({ now: Date.now, onState: () => undefined });
    const deps = { store, registry, instanceId: parseInstanceId("relay-0002") };
    const read = (at: Date) => readClusterRecords(deps, at, { limit: 10 });
    expect(await read(NOW)).toMatchObject([{ id: "prod", status: "Offline", validKeys: 0 }]);
    expect(await read(new Date(NOW.getTime() + 2_000))).toMatchObject([{ status: "Expired" }]);
    await addRelay(store);
    await store.db
      .insertInto("tunnels")
      .values({
        id: "t",
        cluster_id: "prod",
        agent_instance_id: "a",
        key_id: "k",
        relay_id: RELAY,
        since: NOW.toISOString(),
        software: "x",
        address: null,
        open_streams: 0,
        probe: "passed",
        probe_at: NOW.toISOString(),
        probe_reason: null,
      })
      .execute();
    expect(await read(NOW)).toMatchObject([{ status: "Connected", agents: [{ relayId: RELAY, keyId: "k" }] }]);
  });

  test("sessions are written, brought up to date, asked to end and dropped", async () => {
    const store = await open(await newPlace());
    await addRelay(store);
    await writeSessionRows(store.db, [session("one"), session("two")]);
    await writeSessionRows(store.db, [session("one", '{"a":1}')]);
    const rows = await store.db.selectFrom("sessions").select(["id", "clusters"]).orderBy("id").execute();
    expect(rows).toEqual([
      { id: "one", clusters: '{"a":1}' },
      { id: "two", clusters: "{}" },
    ]);
    await store.db.updateTable("sessions").set({ end_requested_at: "x" }).where("id", "=", "two").execute();
    expect(await findEndRequests(store.db, RELAY)).toEqual(["two"]);
    await dropSessionRows(store.db, ["one", "two"]);
    expect(await findEndRequests(store.db, RELAY)).toEqual([]);
  });
});
