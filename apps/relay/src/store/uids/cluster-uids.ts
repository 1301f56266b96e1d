import { type ClusterId, type ClusterUid, isClusterUid, type KeyId } from "@cluster-connect/protocol";
import type { Kysely } from "kysely";
import { batches } from "../batches.ts";
import { recordAudit } from "../queries/audit.ts";
import type { ChangedBy } from "../queries/clusters.ts";
import type { Database } from "../schema.ts";

/** How many refused UIDs of one cluster are kept. */
export const MAX_REFUSED_UIDS = 16;

/** Result of an agent's word: whether it serves the cluster of that name, and whether that is news. */
export interface AnnouncedUid {
  readonly accepted: boolean;
  readonly isNews: boolean;
  /** The UID that counted before. */
  readonly former: ClusterUid | undefined;
}

/**
 * Keeps the UID that an agent told, where the cluster has none yet or a code let the agent's key in since. Any other
 * waits for an administrator, one at a time; one that was refused does not wait again.
 */
export async function announceClusterUid(
  db: Kysely<Database>,
  announced: { readonly clusterId: ClusterId; readonly keyId: KeyId; readonly uid: ClusterUid },
  now: Date,
): Promise<AnnouncedUid> {
  const { clusterId, keyId, uid } = announced;
  for (;;) {
    const row = await findRow(db, clusterId);
    // The cluster was removed, and its keys with it.
    if (row === undefined) return { accepted: true, isNews: false, former: undefined };
    const former = uidOf(row.cluster_uid);
    const decides = former === undefined || row.cluster_uid_by === keyId;
    if (former === uid && !decides) return { accepted: true, isNews: false, former };
    const refused = refusedOf(row);
    if (!decides && (uidOf(row.pending_cluster_uid) !== undefined || refused.includes(uid)))
      return { accepted: false, isNews: false, former };
    const changes = decides
      ? { ...SETTLED, cluster_uid: uid, cluster_uid_by: null, refused_cluster_uids: listOf(refused, undefined, uid) }
      : { pending_cluster_uid: uid, pending_cluster_uid_at: now.toISOString() };
    // Another agent may have been quicker: then its word counts, and is read again.
    if (await changeRow(db, clusterId, row, changes)) return { accepted: decides, isNews: former !== uid, former };
  }
}

/**
 * Decides about a UID that waits, or that was refused before. An accepted one counts from now on and the former is
 * refused; a refused one does not wait again.
 *
 * @returns false when the UID neither waits nor was refused.
 */
export async function settleClusterUid(
  db: Kysely<Database>,
  settled: { readonly clusterId: ClusterId; readonly uid: ClusterUid; readonly decision: "accepted" | "rejected" },
  by: ChangedBy,
): Promise<boolean> {
  const { clusterId, uid, decision } = settled;
  return await db.transaction().execute(async (transaction) => {
    const row = await findRow(transaction, clusterId);
    if (row === undefined) return false;
    const refused = refusedOf(row);
    const isPending = row.pending_cluster_uid === uid;
    if (!isPending && !(decision === "accepted" && refused.includes(uid))) return false;
    const changes =
      decision === "accepted"
        ? {
            ...SETTLED,
            cluster_uid: uid,
            cluster_uid_by: null,
            refused_cluster_uids: listOf(refused, uidOf(row.cluster_uid), uid),
          }
        : { ...SETTLED, refused_cluster_uids: listOf(refused, uid) };
    if (!(await changeRow(transaction, clusterId, row, changes))) return false;
    const formerUid = row.cluster_uid ?? undefined;
    await recordAudit(transaction, { event: `cluster.uid.${decision}`, ...by, clusterId, uid, formerUid });
    return true;
  });
}

/** The UIDs that count for these clusters, and the keys whose word is still to count; others are left out. */
export async function listClusterUids(
  db: Kysely<Database>,
  clusterIds: readonly ClusterId[],
): Promise<ReadonlyMap<string, { readonly uid: ClusterUid; readonly decidedBy: string | null }>> {
  const found = new Map<string, { readonly uid: ClusterUid; readonly decidedBy: string | null }>();
  for (const batch of batches(clusterIds)) {
    const rows = await db
      .selectFrom("clusters")
      .select(["id", "cluster_uid", "cluster_uid_by"])
      .where("id", "in", batch)
      .where("cluster_uid", "is not", null)
      .execute();
    for (const { id, cluster_uid: uid, cluster_uid_by: decidedBy } of rows) {
      if (isClusterUid(uid)) found.set(id, { uid, decidedBy });
    }
  }
  return found;
}

/** A stored UID; undefined for none, and for one that was damaged. */
function uidOf(text: string | null): ClusterUid | undefined {
  return isClusterUid(text) ? text : undefined;
}

const SETTLED = { pending_cluster_uid: null, pending_cluster_uid_at: null } as const;

type UidColumns = "cluster_uid" | "cluster_uid_by" | "pending_cluster_uid" | "refused_cluster_uids";
type UidRow = Readonly<Record<UidColumns, string | null>>;

async function findRow(db: Kysely<Database>, clusterId: ClusterId): Promise<UidRow | undefined> {
  return await db
    .selectFrom("clusters")
    .select(["cluster_uid", "cluster_uid_by", "pending_cluster_uid", "refused_cluster_uids"])
    .where("id", "=", clusterId)
    .executeTakeFirst();
}

/** Changes the row if it still is as it was read. */
async function changeRow(
  db: Kysely<Database>,
  clusterId: ClusterId,
  row: UidRow,
  changes: Partial<UidRow & { readonly pending_cluster_uid_at: string | null }>,
): Promise<boolean> {
  const { cluster_uid, cluster_uid_by, pending_cluster_uid } = row;
  const changed = await db
    .updateTable("clusters")
    .set(changes)
    .where("id", "=", clusterId)
    .where("cluster_uid", cluster_uid === null ? "is" : "=", cluster_uid)
    .where("cluster_uid_by", cluster_uid_by === null ? "is" : "=", cluster_uid_by)
    .where("pending_cluster_uid", pending_cluster_uid === null ? "is" : "=", pending_cluster_uid)
    .executeTakeFirst();
  return changed.numUpdatedRows > 0n;
}

const refusedOf = ({ refused_cluster_uids: text }: UidRow): readonly string[] =>
  (text ?? "").split(" ").filter(Boolean);

/** The list with one more and without another; null when it is empty. */
function listOf(refused: readonly string[], added: string | undefined, without?: string): string | null {
  const others = refused.filter((uid) => uid !== added && uid !== without);
  const all = added === undefined ? others : [...others, added];
  return all.length === 0 ? null : all.slice(-MAX_REFUSED_UIDS).join(" ");
}
