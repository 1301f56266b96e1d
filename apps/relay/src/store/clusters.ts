import { type ClusterId, parseClusterId } from "@cluster-connect/protocol";
import type { Kysely } from "kysely";
import type { Database } from "./schema.ts";

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

/** Notes that these clusters were served at that moment. */
export async function markSeen(db: Kysely<Database>, clusterIds: readonly ClusterId[], now: Date): Promise<void> {
  if (clusterIds.length === 0) return;
  await db.updateTable("clusters").set({ last_seen_at: now.toISOString() }).where("id", "in", clusterIds).execute();
}
