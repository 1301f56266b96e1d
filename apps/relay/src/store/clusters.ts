import { type ClusterId, type KeyId, parseClusterId } from "@cluster-connect/protocol";
import type { Kysely } from "kysely";
import { recordAudit } from "./audit.ts";
import type { Database } from "./schema.ts";
import type { Store } from "./store.ts";

const BATCH_SIZE = 500;

/** A cluster as the store knows it; who serves it right now is the registry's knowledge. */
export interface StoredCluster {
  readonly id: ClusterId;
  /** PEM. */
  readonly authorities: string | undefined;
  readonly lastSeenAt: Date | undefined;
}

/** Every cluster, by id. */
export async function listClusters(db: Kysely<Database>): Promise<readonly StoredCluster[]> {
  const rows = await db
    .selectFrom("clusters")
    .select(["id", "authorities", "last_seen_at"])
    .where("disabled_at", "is", null)
    .orderBy("id")
    .execute();
  return rows.map(({ id, authorities, last_seen_at }) => ({
    id: parseClusterId(id),
    authorities: authorities ?? undefined,
    lastSeenAt: last_seen_at === null ? undefined : new Date(last_seen_at),
  }));
}

/** Whether a cluster with this id is enrolled or expected. */
export async function isKnownCluster(db: Kysely<Database>, clusterId: string): Promise<boolean> {
  const row = await db
    .selectFrom("clusters")
    .select("id")
    .where("id", "=", clusterId)
    .where("disabled_at", "is", null)
    .executeTakeFirst();
  return row !== undefined;
}

/** Keeps what the cluster's agent says about its serving authorities. @returns whether that was news. */
export async function setAuthorities(
  db: Kysely<Database>,
  clusterId: ClusterId,
  authorities: string,
  now: Date,
): Promise<boolean> {
  const result = await db
    .updateTable("clusters")
    .set({ authorities, authorities_at: now.toISOString() })
    .where("id", "=", clusterId)
    .where(({ or, eb }) => or([eb("authorities", "is", null), eb("authorities", "!=", authorities)]))
    .executeTakeFirst();
  return result.numUpdatedRows > 0n;
}

/** Notes that these clusters were served, with these keys, at that moment. */
export async function markSeen(
  db: Kysely<Database>,
  seen: { readonly clusterIds: readonly ClusterId[]; readonly keyIds: readonly KeyId[] },
  now: Date,
): Promise<void> {
  const at = now.toISOString();
  await db.transaction().execute(async (transaction) => {
    for (const ids of batches(seen.clusterIds)) {
      await transaction.updateTable("clusters").set({ last_seen_at: at }).where("id", "in", ids).execute();
    }
    for (const ids of batches(seen.keyIds)) {
      await transaction.updateTable("agent_keys").set({ last_used_at: at }).where("key_id", "in", ids).execute();
    }
  });
}

/** What went with a cluster. */
export interface RemovedCluster {
  /** How many agent keys, revoked ones too, and enrollment codes. */
  readonly keys: number;
  readonly codes: number;
}

/**
 * Forgets a cluster with its keys and codes; its tunnels end as those of keys that were revoked. What the audit says of
 * it stays, and so do grants that name it: they count for a cluster that is enrolled under the id later.
 *
 * @returns undefined when there is no such cluster.
 */
export async function removeCluster(
  { db, dialect }: Store,
  clusterId: ClusterId,
  by: { readonly actor: string; readonly at: Date },
): Promise<RemovedCluster | undefined> {
  return await db.transaction().execute(async (transaction) => {
    // Held until the end and taken in the order in which an enrollment takes them; SQLite has one writer at a time anyway.
    const locks = dialect.name === "postgres";
    await transaction
      .selectFrom("enrollment_codes")
      .select("code_hash")
      .where("cluster_id", "=", clusterId)
      .$if(locks, (query) => query.forUpdate())
      .execute();
    const found = await transaction
      .selectFrom("clusters")
      .select("id")
      .where("id", "=", clusterId)
      .$if(locks, (query) => query.forUpdate())
      .executeTakeFirst();
    if (found === undefined) return undefined;
    await transaction
      .deleteFrom("enrollment_uses")
      .where("code_hash", "in", (query) =>
        query.selectFrom("enrollment_codes").select("code_hash").where("cluster_id", "=", clusterId),
      )
      .execute();
    const codes = await transaction
      .deleteFrom("enrollment_codes")
      .where("cluster_id", "=", clusterId)
      .executeTakeFirstOrThrow();
    const keys = await transaction
      .deleteFrom("agent_keys")
      .where("cluster_id", "=", clusterId)
      .executeTakeFirstOrThrow();
    await transaction.deleteFrom("clusters").where("id", "=", clusterId).execute();
    const removed = { keys: Number(keys.numDeletedRows), codes: Number(codes.numDeletedRows) };
    await recordAudit(transaction, { event: "cluster.removed", clusterId, ...by, ...removed });
    return removed;
  });
}

/** Databases limit the parameters of one statement. */
function batches<T>(ids: readonly T[]): readonly (readonly T[])[] {
  const count = Math.ceil(ids.length / BATCH_SIZE);
  return Array.from({ length: count }, (_, index) => ids.slice(index * BATCH_SIZE, (index + 1) * BATCH_SIZE));
}
