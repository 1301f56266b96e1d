import { type ClusterId, type KeyId, parseClusterId, parseKeyId } from "@cluster-connect/protocol";
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
export async function revokeAgentKey(db: Kysely<Database>, keyId: KeyId, now: Date): Promise<ClusterId | undefined> {
  return await db.transaction().execute(async (transaction) => {
    const key = await findAgentKey(transaction, keyId);
    if (key === undefined) return undefined;
    const { clusterId } = key;
    await transaction
      .updateTable("agent_keys")
      .set({ revoked_at: now.toISOString() })
      .where("key_id", "=", keyId)
      .execute();
    await recordAudit(transaction, { event: "agent.key.revoked", actor: "operator", clusterId, at: now, keyId });
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
