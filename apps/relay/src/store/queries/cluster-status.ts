import type { ClusterState } from "@cluster-connect/api";
import { type ClusterId, type InstanceId, parseClusterId } from "@cluster-connect/protocol";
import type { Kysely, Transaction } from "kysely";
import { clusterStateOf, type ProbeState, reasonOf } from "../../status/state.ts";
import { batches } from "../batches.ts";
import type { ClusterStatusTable, Database } from "../schema.ts";
import type { Store } from "../store.ts";
import { storedProbe } from "./tunnels.ts";

/** A cluster as the tunnels of all relays make it. */
export interface ClusterStatus {
  /** New with each change: cluster and number. */
  readonly id: string;
  readonly at: string;
  readonly clusterId: ClusterId;
  readonly status: ClusterState;
  readonly reason: string | null;
}

/** Of the relay that tells a change to the webhook; undefined where there is none. */
export type Teller = ((change: ClusterStatus) => unknown) | undefined;

const MAX_WAITING = 1_000;

/**
 * Looks at the tunnels that relays have written down, and notes each cluster whose status is another one by now. However
 * many relays look at once, one of them notes a change, by the number it has found.
 *
 * @param clusterIds which to look at; every one that had a status or has a tunnel when left out.
 * @param teller makes the webhook's message, which is kept with the change until {@link dropDelivery}.
 * @returns the changes that this call has noted.
 */
export async function noteStatuses(
  store: Store,
  by: { readonly relayId: InstanceId; readonly teller: Teller },
  clusterIds: readonly ClusterId[] | undefined,
  now: Date,
): Promise<readonly ClusterStatus[]> {
  if (clusterIds === undefined) return await noteBatch(store, by, undefined, now);
  const noted: ClusterStatus[] = [];
  // In one order everywhere, so that no two relays wait for each other's rows.
  for (const ids of batches(clusterIds.toSorted())) noted.push(...(await noteBatch(store, by, ids, now)));
  return noted;
}

function noteBatch(
  store: Store,
  by: { readonly relayId: InstanceId; readonly teller: Teller },
  ids: readonly ClusterId[] | undefined,
  now: Date,
): Promise<readonly ClusterStatus[]> {
  return store.db.transaction().execute(async (transaction) => {
    // Statuses first: a relay that noted one had written its tunnels down before.
    const before = await readRows(transaction, ids);
    const probes = await readProbes(transaction, store, ids);
    const noted: ClusterStatus[] = [];
    for (const clusterId of [...new Set([...before.keys(), ...probes.keys()])].toSorted()) {
      const found = statusOf(probes.get(clusterId) ?? []);
      const former = before.get(clusterId);
      if ((former?.status ?? "offline") === found.status && (former?.reason ?? null) === found.reason) continue;
      const version = former === undefined ? firstVersion(now) : former.version + 1;
      const row = { cluster_id: clusterId, ...found, at: now.toISOString(), version };
      if (await claim(transaction, row, former === undefined)) noted.push(changeOf(row));
    }
    const { teller, relayId } = by;
    if (teller !== undefined) for (const change of noted) await keepDelivery(transaction, change, relayId, teller);
    return noted;
  });
}

const FIRST_SECOND = Date.UTC(2026, 0, 1) / 1_000;

/**
 * A cluster that is enrolled again under the name of one that was removed goes on with a higher number, so that no
 * change has the id of an earlier one: seconds since 2026 are more than the changes that there were.
 */
function firstVersion(now: Date): number {
  return Math.max(1, Math.floor(now.getTime() / 1_000) - FIRST_SECOND);
}

/** @returns false when another relay was faster. */
async function claim(transaction: Transaction<Database>, row: ClusterStatusTable, isFirst: boolean): Promise<boolean> {
  const { version, cluster_id, ...values } = row;
  if (isFirst) {
    const inserted = await transaction
      .insertInto("cluster_status")
      .values(row)
      .onConflict((conflict) => conflict.column("cluster_id").doNothing())
      .executeTakeFirst();
    return inserted.numInsertedOrUpdatedRows === 1n;
  }
  const updated = await transaction
    .updateTable("cluster_status")
    .set({ ...values, version })
    .where("cluster_id", "=", cluster_id)
    .where("version", "=", version - 1)
    .executeTakeFirst();
  return updated.numUpdatedRows === 1n;
}

async function readRows(
  db: Pick<Kysely<Database>, "selectFrom">,
  ids: readonly ClusterId[] | undefined,
): Promise<ReadonlyMap<ClusterId, ClusterStatusTable>> {
  let query = db.selectFrom("cluster_status").selectAll();
  if (ids !== undefined) query = query.where("cluster_id", "in", ids);
  const rows = await query.execute();
  return new Map(rows.map((row) => [parseClusterId(row.cluster_id), row]));
}

async function readProbes(
  transaction: Transaction<Database>,
  { dialect }: Store,
  ids: readonly ClusterId[] | undefined,
): Promise<ReadonlyMap<ClusterId, readonly ProbeState[]>> {
  let query = transaction
    .selectFrom("tunnels")
    .innerJoin("relays", "relays.id", "tunnels.relay_id")
    // The tunnels of a cluster that was removed end in a moment; it has no status any more.
    .innerJoin("clusters", "clusters.id", "tunnels.cluster_id")
    .select(["tunnels.cluster_id", "tunnels.probe", "tunnels.probe_reason"])
    .where("relays.lease_until", ">", dialect.now);
  if (ids !== undefined) query = query.where("tunnels.cluster_id", "in", ids);
  const found = new Map<ClusterId, ProbeState[]>();
  for (const { cluster_id, probe, probe_reason } of await query.execute()) {
    const clusterId = parseClusterId(cluster_id);
    const probes = found.get(clusterId) ?? [];
    probes.push(storedProbe(probe, probe_reason, null));
    found.set(clusterId, probes);
  }
  return found;
}

function statusOf(probes: readonly ProbeState[]): Pick<ClusterStatus, "status" | "reason"> {
  return { status: clusterStateOf(probes), reason: reasonOf(probes) ?? null };
}

const STATES: Readonly<Record<string, ClusterState>> = {
  connected: "connected",
  degraded: "degraded",
  connecting: "connecting",
};

function changeOf({ cluster_id, status, reason, at, version }: ClusterStatusTable): ClusterStatus {
  const clusterId = parseClusterId(cluster_id);
  return { id: `${clusterId}/${version}`, at, clusterId, status: STATES[status] ?? "offline", reason };
}

/** How every cluster was found last. */
export async function listStatuses(db: Kysely<Database>): Promise<readonly ClusterStatus[]> {
  return [...(await readRows(db, undefined)).values()].map(changeOf);
}

/** A message of the webhook that was not taken yet. */
export interface Delivery {
  readonly id: string;
  readonly body: string;
}

/** Keeps a message until it is sent. */
async function keepDelivery(
  transaction: Transaction<Database>,
  change: ClusterStatus,
  relay_id: InstanceId,
  teller: NonNullable<Teller>,
): Promise<void> {
  const body = JSON.stringify(teller(change));
  await transaction.insertInto("status_deliveries").values({ id: change.id, relay_id, body, at: change.at }).execute();
}

/**
 * Messages that this relay has to send: those it keeps itself, and those of relays that are gone, which it takes over.
 * Of several relays that take one over, one gets it.
 */
export async function takeDeliveries({ db, dialect }: Store, relayId: InstanceId): Promise<readonly Delivery[]> {
  const rows = await db
    .selectFrom("status_deliveries")
    .select(["id", "body", "relay_id"])
    .where(({ or, eb, not, exists, selectFrom }) =>
      or([
        eb("relay_id", "=", relayId),
        not(
          exists(
            selectFrom("relays")
              .select("relays.id")
              .whereRef("relays.id", "=", "status_deliveries.relay_id")
              .where("relays.lease_until", ">", dialect.now),
          ),
        ),
      ]),
    )
    .orderBy("at")
    .orderBy("id")
    .limit(MAX_WAITING)
    .execute();
  const taken: Delivery[] = [];
  for (const { id, body, relay_id } of rows) {
    if (relay_id !== relayId) {
      const { numUpdatedRows } = await db
        .updateTable("status_deliveries")
        .set({ relay_id: relayId })
        .where("id", "=", id)
        .where("relay_id", "=", relay_id)
        .executeTakeFirst();
      if (numUpdatedRows === 0n) continue;
    }
    taken.push({ id, body });
  }
  return taken;
}

/** The message was taken, or given up. */
export async function dropDelivery(db: Kysely<Database>, id: string): Promise<void> {
  await db.deleteFrom("status_deliveries").where("id", "=", id).execute();
}
