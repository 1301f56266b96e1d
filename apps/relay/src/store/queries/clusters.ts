import { type ClusterId, type ClusterUid, isClusterUid, type KeyId, parseClusterId } from "@cluster-connect/protocol";
import type { Kysely } from "kysely";
import { batches } from "../batches.ts";
import type { Database } from "../schema.ts";
import type { Store } from "../store.ts";
import { type AuditActor, recordAudit } from "./audit.ts";

/** A cluster as the store knows it; the registry knows its present agents. */
export interface StoredCluster {
  readonly id: ClusterId;
  /** PEM. */
  readonly authorities: string | undefined;
  readonly authoritySignatures: string | undefined;
  /** PEM of those that wait to be accepted. */
  readonly pendingAuthorities: string | undefined;
  /** UID of another cluster that claims this one's name. */
  readonly pendingUid: ClusterUid | undefined;
  readonly lastSeenAt: Date | undefined;
  /** Its status by the tunnels of all relays, as it was noted last, and since when. */
  readonly noted: { readonly status: string; readonly at: Date } | undefined;
}

/** Every cluster, by id. */
export async function listClusters(db: Kysely<Database>): Promise<readonly StoredCluster[]> {
  const rows = await db
    .selectFrom("clusters")
    .leftJoin("cluster_status", "cluster_status.cluster_id", "clusters.id")
    .select(["id", "authorities", "authority_signatures", "pending_authorities", "pending_cluster_uid", "last_seen_at"])
    .select(["cluster_status.status", "cluster_status.at"])
    .where("disabled_at", "is", null)
    .orderBy("id")
    .execute();
  return rows.map(({ pending_cluster_uid: pendingUid, last_seen_at: lastSeen, status, at, ...row }) => ({
    id: parseClusterId(row.id),
    authorities: row.authorities ?? undefined,
    authoritySignatures: row.authority_signatures ?? undefined,
    pendingAuthorities: row.pending_authorities ?? undefined,
    pendingUid: isClusterUid(pendingUid) ? pendingUid : undefined,
    lastSeenAt: lastSeen === null ? undefined : new Date(lastSeen),
    noted: status === null || at === null ? undefined : { status, at: new Date(at) },
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

/**
 * Keeps the authorities that came with a one-time code; they replace an agent's earlier announcement. So will the UID
 * that an agent with the new key tells.
 */
export async function setEnrolled(
  db: Kysely<Database>,
  clusterId: ClusterId,
  { authorities, keyId }: { readonly authorities: string; readonly keyId: KeyId },
  now: Date,
): Promise<void> {
  await db
    .updateTable("clusters")
    .set({
      authorities,
      authorities_at: now.toISOString(),
      pending_authorities: null,
      pending_authorities_at: null,
      cluster_uid_by: keyId,
    })
    .where("id", "=", clusterId)
    .execute();
}

/** Result of an announcement: whether the authorities are the cluster's, and whether that is news. */
export interface Announced {
  readonly accepted: boolean;
  readonly isNews: boolean;
  /** PEM of those that counted before. */
  readonly former: string | null;
}

/**
 * Keeps an agent's announcement of its cluster's authorities. It counts at once where there are none, or where
 * `isRenewal` says that the accepted ones made it. Else it waits for an administrator.
 */
export async function announceAuthorities(
  db: Kysely<Database>,
  announced: { readonly clusterId: ClusterId; readonly pem: string; readonly isRenewal: (accepted: string) => boolean },
  now: Date,
): Promise<Announced> {
  const { clusterId, pem, isRenewal } = announced;
  const row = await db
    .selectFrom("clusters")
    .select(["authorities", "pending_authorities"])
    .where("id", "=", clusterId)
    .executeTakeFirst();
  if (row === undefined || row.authorities === pem) return { accepted: true, isNews: false, former: pem };
  if (row.authorities === null || isRenewal(row.authorities)) {
    const changed = await db
      .updateTable("clusters")
      .set({ authorities: pem, authorities_at: now.toISOString() })
      .where("id", "=", clusterId)
      .where(({ or, eb }) => or([eb("authorities", "is", null), eb("authorities", "=", row.authorities)]))
      .executeTakeFirst();
    return { accepted: true, isNews: changed.numUpdatedRows > 0n, former: row.authorities };
  }
  if (row.pending_authorities === pem) return { accepted: false, isNews: false, former: row.authorities };
  await db
    .updateTable("clusters")
    .set({ pending_authorities: pem, pending_authorities_at: now.toISOString() })
    .where("id", "=", clusterId)
    .execute();
  return { accepted: false, isNews: true, former: row.authorities };
}

/** A cluster's authorities that count and those that wait, in PEM. */
export interface AuthoritiesInDoubt {
  readonly accepted: string | null;
  readonly pending: string | null;
}

export async function findPendingAuthorities(db: Kysely<Database>, clusterId: ClusterId): Promise<AuthoritiesInDoubt> {
  const row = await db
    .selectFrom("clusters")
    .select(["authorities", "pending_authorities"])
    .where("id", "=", clusterId)
    .executeTakeFirst();
  return { accepted: row?.authorities ?? null, pending: row?.pending_authorities ?? null };
}

/** An administrator's decision about authorities that wait. */
export interface SettledAuthorities extends AuthoritiesInDoubt {
  readonly clusterId: ClusterId;
  /** Those that count from now on; undefined when the others are rejected. */
  readonly pem: string | undefined;
  readonly fingerprint: string;
}

/** Accepts or drops authorities that wait. @returns false when others wait or count by now. */
export async function settleAuthorities(
  db: Kysely<Database>,
  settled: SettledAuthorities,
  by: ChangedBy,
): Promise<boolean> {
  const { clusterId, accepted, pending, pem, fingerprint } = settled;
  return await db.transaction().execute(async (transaction) => {
    const taken = pem === undefined ? {} : { authorities: pem, authorities_at: by.at.toISOString() };
    const changed = await transaction
      .updateTable("clusters")
      .set({ ...taken, pending_authorities: null, pending_authorities_at: null })
      .where("id", "=", clusterId)
      .where("pending_authorities", "=", pending)
      .where("authorities", accepted === null ? "is" : "=", accepted)
      .executeTakeFirst();
    if (changed.numUpdatedRows === 0n) return false;
    const decision = pem === undefined ? "rejected" : "accepted";
    await recordAudit(transaction, { event: `cluster.authorities.${decision}`, ...by, clusterId, fingerprint });
    return true;
  });
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

/** The actor and the time of a change. */
export interface ChangedBy {
  readonly actor: AuditActor;
  readonly at: Date;
}

/** Makes a cluster; one that is there stays as it is, but for its labels. */
export async function makeCluster(
  db: Kysely<Database>,
  cluster: { readonly clusterId: ClusterId; readonly labels: Readonly<Record<string, string>> },
  by: ChangedBy,
): Promise<void> {
  const { clusterId } = cluster;
  const labels = JSON.stringify(cluster.labels);
  await db.transaction().execute(async (transaction) => {
    await transaction
      .insertInto("clusters")
      .values({ id: clusterId, created_at: by.at.toISOString(), labels })
      .onConflict((conflict) => conflict.column("id").doUpdateSet({ labels }))
      .execute();
    await recordAudit(transaction, { event: "cluster.made", ...by, clusterId, labels: cluster.labels });
  });
}

/** Changes of a cluster; a field left out stays. */
export interface ClusterChange {
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly disabled?: boolean | undefined;
  /** A fleet key's signatures over its authorities. */
  readonly authoritySignatures?: string | undefined;
}

export async function changeCluster(
  db: Kysely<Database>,
  clusterId: ClusterId,
  change: ClusterChange,
  by: ChangedBy,
): Promise<void> {
  const { labels, disabled, authoritySignatures } = change;
  await db.transaction().execute(async (transaction) => {
    await transaction
      .updateTable("clusters")
      .set({
        id: clusterId,
        ...(labels === undefined ? {} : { labels: JSON.stringify(labels) }),
        ...(authoritySignatures === undefined ? {} : { authority_signatures: authoritySignatures }),
        ...(disabled === undefined ? {} : { disabled_at: disabled ? by.at.toISOString() : null }),
      })
      .where("id", "=", clusterId)
      .execute();
    await recordAudit(transaction, { event: "cluster.changed", ...by, clusterId, ...change });
  });
}

/** Counts of the rows that went with a cluster. */
export interface RemovedCluster {
  /** How many agent keys, revoked ones too, and enrollment codes. */
  readonly keys: number;
  readonly codes: number;
}

/**
 * Forgets a cluster with its keys and codes; its tunnels end as those of keys that were revoked. Its audit entries
 * stay, and so do grants that name it. The grants count for a cluster that is enrolled under the id later.
 *
 * @returns undefined when there is no such cluster.
 */
export async function removeCluster(
  { db, dialect }: Store,
  clusterId: ClusterId,
  by: ChangedBy,
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
    await transaction.deleteFrom("cluster_status").where("cluster_id", "=", clusterId).execute();
    await transaction.deleteFrom("clusters").where("id", "=", clusterId).execute();
    const removed = { keys: Number(keys.numDeletedRows), codes: Number(codes.numDeletedRows) };
    await recordAudit(transaction, { event: "cluster.removed", clusterId, ...by, ...removed });
    return removed;
  });
}
