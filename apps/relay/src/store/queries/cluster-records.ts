import type { Kysely } from "kysely";
import type { Database } from "../schema.ts";

/** A tunnel as administrators see it, at any relay. */
export interface TunnelRecord {
  readonly instanceId: string;
  readonly relayId: string;
  readonly keyId: string;
  readonly since: string;
  readonly probe: string;
}

/** A tunnel of a cluster, with the result of its last probe. */
export interface ClusterTie extends TunnelRecord {
  readonly clusterId: string;
  readonly reason: string | null;
}

/** A cluster as its row has it; labels as JSON text. */
export interface ClusterRow {
  readonly id: string;
  readonly labels: string;
  readonly disabled_at: string | null;
  readonly created_at: string;
  readonly last_seen_at: string | null;
  /** PEM. */
  readonly authorities: string | null;
  readonly pending_authorities: string | null;
  readonly pending_authorities_at: string | null;
  readonly cluster_uid: string | null;
  readonly pending_cluster_uid: string | null;
  readonly pending_cluster_uid_at: string | null;
}

const COLUMNS = [
  ...(["id", "labels", "disabled_at", "created_at", "last_seen_at"] as const),
  ...(["authorities", "pending_authorities", "pending_authorities_at"] as const),
  ...(["cluster_uid", "pending_cluster_uid", "pending_cluster_uid_at"] as const),
];

/** Clusters by id, those after `after`. */
export async function listClusterRows(
  db: Kysely<Database>,
  page: { readonly after?: string | undefined; readonly id?: string; readonly limit: number },
): Promise<readonly ClusterRow[]> {
  let query = db
    .selectFrom("clusters")
    .select(COLUMNS)
    .where("id", ">", page.after ?? "");
  if (page.id !== undefined) query = query.where("id", "=", page.id);
  return await query.orderBy("id").limit(page.limit).execute();
}

/** Tunnels of these clusters that relays wrote down, and how many valid keys and open codes they have. */
export async function readClusterTies(
  db: Kysely<Database>,
  ids: readonly string[],
  now: Date,
): Promise<{
  readonly tunnels: readonly ClusterTie[];
  readonly keys: ReadonlyMap<string, number>;
  readonly codes: ReadonlyMap<string, number>;
}> {
  const at = now.toISOString();
  const tunnels = await db
    .selectFrom("tunnels")
    .innerJoin("relays", "relays.id", "tunnels.relay_id")
    .select(["cluster_id", "agent_instance_id", "relay_id", "key_id", "since", "probe", "probe_reason"])
    .where("cluster_id", "in", ids)
    .where("relays.lease_until", ">", at)
    .orderBy("since")
    .execute();
  const keys = await db
    .selectFrom("agent_keys")
    .select(({ fn }) => ["cluster_id", fn.countAll().as("count")])
    .where("cluster_id", "in", ids)
    .where("revoked_at", "is", null)
    .groupBy("cluster_id")
    .execute();
  const codes = await db
    .selectFrom("enrollment_codes")
    .select(({ fn }) => ["cluster_id", fn.countAll().as("count")])
    .where("cluster_id", "in", ids)
    .where("expires_at", ">", at)
    .where("revoked_at", "is", null)
    .whereRef("uses", "<", "max_uses")
    .groupBy("cluster_id")
    .execute();
  return {
    tunnels: tunnels.map((row) => ({
      clusterId: row.cluster_id,
      instanceId: row.agent_instance_id,
      relayId: row.relay_id,
      keyId: row.key_id,
      since: row.since,
      probe: row.probe,
      reason: row.probe_reason,
    })),
    keys: new Map(keys.map(({ cluster_id, count }) => [cluster_id, Number(count)])),
    codes: new Map(codes.map(({ cluster_id, count }) => [cluster_id, Number(count)])),
  };
}
