import { type ClusterId, ConnectError, type KeyId, parseClusterId, parseKeyId } from "@cluster-connect/protocol";
import type { Kysely } from "kysely";
import { recordAudit } from "./audit.ts";
import type { Database } from "./schema.ts";

/** A key that may open tunnels for a cluster. */
export interface AgentKey {
  readonly keyId: KeyId;
  readonly clusterId: ClusterId;
  /** SubjectPublicKeyInfo, PEM. */
  readonly publicKey: string;
}

/** The key by its id, unless it was revoked or its cluster disabled. */
export async function findAgentKey(db: Kysely<Database>, keyId: KeyId): Promise<AgentKey | undefined> {
  const row = await db
    .selectFrom("agent_keys")
    .innerJoin("clusters", "clusters.id", "agent_keys.cluster_id")
    .select(["agent_keys.cluster_id", "agent_keys.public_key"])
    .where("agent_keys.key_id", "=", keyId)
    .where("agent_keys.revoked_at", "is", null)
    .where("clusters.disabled_at", "is", null)
    .executeTakeFirst();
  if (row === undefined) return undefined;
  return { keyId, clusterId: parseClusterId(row.cluster_id), publicKey: row.public_key };
}

/** Makes a key worthless from now on. @returns its cluster, or undefined when no valid key has this id. */
export async function revokeAgentKey(
  db: Kysely<Database>,
  keyId: KeyId,
  now: Date,
  actor = "operator",
): Promise<ClusterId | undefined> {
  return await db.transaction().execute(async (transaction) => {
    const key = await findAgentKey(transaction, keyId);
    if (key === undefined) return undefined;
    const { clusterId } = key;
    await transaction
      .updateTable("agent_keys")
      .set({ revoked_at: now.toISOString() })
      .where("key_id", "=", keyId)
      .execute();
    await recordAudit(transaction, { event: "agent.key.revoked", actor, clusterId, at: now, keyId });
    return clusterId;
  });
}

/** Which of these keys may no longer be used. */
export async function findRevoked(db: Kysely<Database>, keyIds: readonly KeyId[]): Promise<ReadonlySet<KeyId>> {
  if (keyIds.length === 0) return new Set();
  const rows = await db
    .selectFrom("agent_keys")
    .innerJoin("clusters", "clusters.id", "agent_keys.cluster_id")
    .select("agent_keys.key_id")
    .where("agent_keys.key_id", "in", keyIds)
    .where("agent_keys.revoked_at", "is", null)
    .where("clusters.disabled_at", "is", null)
    .execute();
  const valid = new Set(rows.map(({ key_id }) => key_id));
  return new Set(keyIds.filter((keyId) => !valid.has(keyId)));
}

/** Valid keys of all clusters, for the `clusters` command. */
export async function listAgentKeys(db: Kysely<Database>): Promise<readonly Omit<AgentKey, "publicKey">[]> {
  const rows = await db
    .selectFrom("agent_keys")
    .select(["key_id", "cluster_id"])
    .where("revoked_at", "is", null)
    .orderBy("created_at")
    .execute();
  return rows.map(({ key_id, cluster_id }) => ({ keyId: parseKeyId(key_id), clusterId: parseClusterId(cluster_id) }));
}

/**
 * Adds the key that replaces another one of the same cluster; adding it again changes nothing.
 *
 * @throws ConnectError `CC_AGENT_KEY_REFUSED` when the key is there and revoked or another cluster's.
 */
export async function addRotatedKey(db: Kysely<Database>, key: AgentKey, former: KeyId, now: Date): Promise<void> {
  const { keyId, clusterId, publicKey } = key;
  await db.transaction().execute(async (transaction) => {
    const result = await transaction
      .insertInto("agent_keys")
      .values({
        ...{ key_id: keyId, cluster_id: clusterId, public_key: publicKey },
        ...{ created_at: now.toISOString(), added_by: former },
      })
      .onConflict((conflict) => conflict.column("key_id").doNothing())
      .executeTakeFirst();
    if (result.numInsertedOrUpdatedRows === 1n) {
      await recordAudit(transaction, { event: "agent.key.added", actor: former, clusterId, at: now, keyId });
      return;
    }
    const found = await findAgentKey(transaction, keyId);
    if (found?.clusterId === clusterId) return;
    throw new ConnectError("CC_AGENT_KEY_REFUSED", "The new key cannot be enrolled for this cluster");
  });
}

/** A former key without a tunnel is kept so long after it was last seen: its agents may be on their way back. */
const RETIRE_AFTER_MS = 600_000;

/**
 * Revokes keys that were replaced: the new one has been used, and no tunnel of any relay is by the former one any more.
 *
 * @returns the keys it revoked.
 */
export async function retireReplacedKeys(db: Kysely<Database>, now: Date): Promise<readonly KeyId[]> {
  const quietSince = new Date(now.getTime() - RETIRE_AFTER_MS).toISOString();
  const rows = await db
    .selectFrom("agent_keys as former")
    .innerJoin("agent_keys as next", "next.added_by", "former.key_id")
    .select("former.key_id")
    .distinct()
    .where("former.revoked_at", "is", null)
    .where("next.revoked_at", "is", null)
    .where("next.last_used_at", "is not", null)
    .where(({ or, eb }) => or([eb("former.last_used_at", "is", null), eb("former.last_used_at", "<", quietSince)]))
    .where(({ not, exists, selectFrom }) =>
      not(exists(selectFrom("tunnels").select("tunnels.id").whereRef("tunnels.key_id", "=", "former.key_id"))),
    )
    .execute();
  const keys = rows.map(({ key_id }) => parseKeyId(key_id));
  for (const keyId of keys) await revokeAgentKey(db, keyId, now, "rotation");
  return keys;
}

/**
 * Adds a cluster before its agent is there, or a key that its owner made, or both; what is there already stays.
 *
 * @throws ConnectError `CC_AGENT_KEY_REFUSED` when the key is there and revoked or another cluster's.
 */
export async function addClusterWithKey(
  db: Kysely<Database>,
  cluster: { readonly clusterId: ClusterId; readonly key?: Pick<AgentKey, "keyId" | "publicKey"> | undefined },
  now: Date,
): Promise<void> {
  const { clusterId, key } = cluster;
  const created_at = now.toISOString();
  await db.transaction().execute(async (transaction) => {
    const added = await transaction
      .insertInto("clusters")
      .values({ id: clusterId, created_at })
      .onConflict((conflict) => conflict.column("id").doNothing())
      .executeTakeFirst();
    if (added.numInsertedOrUpdatedRows === 1n) {
      await recordAudit(transaction, { event: "cluster.made", actor: "operator", clusterId, at: now });
    }
    if (key === undefined) return;
    const { keyId, publicKey } = key;
    const result = await transaction
      .insertInto("agent_keys")
      .values({ key_id: keyId, cluster_id: clusterId, public_key: publicKey, created_at, added_by: "operator" })
      .onConflict((conflict) => conflict.column("key_id").doNothing())
      .executeTakeFirst();
    if (result.numInsertedOrUpdatedRows === 1n) {
      await recordAudit(transaction, { event: "agent.key.added", actor: "operator", clusterId, at: now, keyId });
    } else if ((await findAgentKey(transaction, keyId))?.clusterId !== clusterId) {
      throw new ConnectError("CC_AGENT_KEY_REFUSED", "The key is revoked or another cluster's");
    }
  });
}
