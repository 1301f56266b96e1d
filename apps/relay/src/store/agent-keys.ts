import { type ClusterId, ConnectError, type KeyId, parseClusterId, parseKeyId } from "@cluster-connect/protocol";
import type { Kysely } from "kysely";
import { recordAudit } from "./audit.ts";
import type { AgentKeysTable, Database } from "./schema.ts";

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

/** `pending`: let in by a rotation and not used yet, until its deadline. */
export type KeyState = "pending" | "active" | "revoked";

/** The columns that say what a key is. */
type KeyTimes = Pick<AgentKeysTable, "revoked_at" | "activate_by" | "last_used_at">;

export function keyStateOf({ revoked_at, activate_by, last_used_at }: KeyTimes): KeyState {
  if (revoked_at !== null) return "revoked";
  return activate_by !== null && last_used_at === null ? "pending" : "active";
}

/** What became worthless, and what did not. */
export interface Revocation {
  readonly clusterId: ClusterId;
  /** What the key was until now. */
  readonly was: KeyState;
  /** Keys that it had let in and nobody has used yet; they went with it. */
  readonly dropped: readonly KeyId[];
  /** Keys that it had let in and that are in use; who stole the key may have made them. */
  readonly left: readonly KeyId[];
}

/** Makes a key worthless from now on. @returns undefined when no valid key has this id. */
export async function revokeAgentKey(
  db: Kysely<Database>,
  keyId: KeyId,
  now: Date,
  actor = "operator",
): Promise<Revocation | undefined> {
  return await db.transaction().execute(async (transaction) => {
    const key = await findAgentKey(transaction, keyId);
    if (key === undefined) return undefined;
    const { clusterId } = key;
    const rows = await transaction
      .selectFrom("agent_keys")
      .select(["key_id", "revoked_at", "activate_by", "last_used_at"])
      .where(({ or, eb }) => or([eb("key_id", "=", keyId), eb("added_by", "=", keyId)]))
      .where("revoked_at", "is", null)
      .orderBy("created_at")
      .execute();
    const states = new Map(rows.map((row) => [parseKeyId(row.key_id), keyStateOf(row)]));
    const was = states.get(keyId) ?? "active";
    states.delete(keyId);
    const dropped = [...states].flatMap(([id, state]) => (state === "pending" ? [id] : []));
    const left = [...states.keys()].filter((id) => !dropped.includes(id));
    await transaction
      .updateTable("agent_keys")
      .set({ revoked_at: now.toISOString() })
      .where("key_id", "in", [keyId, ...dropped])
      .execute();
    const entry = { event: "agent.key.revoked", actor, clusterId, at: now };
    await recordAudit(transaction, { ...entry, keyId });
    for (const id of dropped) await recordAudit(transaction, { ...entry, keyId: id, addedBy: keyId });
    return { clusterId, was, dropped, left };
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
export async function listAgentKeys(
  db: Kysely<Database>,
): Promise<readonly (Omit<AgentKey, "publicKey"> & { readonly state: KeyState })[]> {
  const rows = await db
    .selectFrom("agent_keys")
    .select(["key_id", "cluster_id", "revoked_at", "activate_by", "last_used_at"])
    .where("revoked_at", "is", null)
    .orderBy("created_at")
    .execute();
  return rows.map((row) => ({
    keyId: parseKeyId(row.key_id),
    clusterId: parseClusterId(row.cluster_id),
    state: keyStateOf(row),
  }));
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
