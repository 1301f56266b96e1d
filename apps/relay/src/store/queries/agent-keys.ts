import type { AGENT_KEY } from "@cluster-connect/api";
import {
  type ClusterId,
  type ClusterUid,
  ConnectError,
  isClusterUid,
  type KeyId,
  parseClusterId,
  parseKeyId,
} from "@cluster-connect/protocol";
import type { Kysely } from "kysely";
import type { z } from "zod";
import { batches } from "../batches.ts";
import type { AgentKeysTable, Database } from "../schema.ts";
import { type AuditActor, actorName, recordAudit } from "./audit.ts";

/** A key that may open tunnels for a cluster. */
export interface StoredAgentKey {
  readonly keyId: KeyId;
  readonly clusterId: ClusterId;
  /** SubjectPublicKeyInfo, PEM. */
  readonly publicKey: string;
}

/** A valid key, with what is known of its cluster. */
export interface ValidAgentKey extends StoredAgentKey {
  /** The UID that counts; undefined until an agent told one. */
  readonly clusterUid: ClusterUid | undefined;
  /** Whether the UID that this key's agent tells is to count: a code let the key in since. */
  readonly setsClusterUid: boolean;
}

/** The key by its id, unless it was revoked or its cluster disabled. */
export async function findAgentKey(db: Kysely<Database>, keyId: KeyId): Promise<ValidAgentKey | undefined> {
  const row = await db
    .selectFrom("agent_keys")
    .innerJoin("clusters", "clusters.id", "agent_keys.cluster_id")
    .select(["agent_keys.cluster_id", "agent_keys.public_key", "clusters.cluster_uid", "clusters.cluster_uid_by"])
    .where("agent_keys.key_id", "=", keyId)
    .where("agent_keys.revoked_at", "is", null)
    .where("clusters.disabled_at", "is", null)
    .executeTakeFirst();
  if (row === undefined) return undefined;
  return {
    keyId,
    clusterId: parseClusterId(row.cluster_id),
    publicKey: row.public_key,
    clusterUid: isClusterUid(row.cluster_uid) ? row.cluster_uid : undefined,
    setsClusterUid: row.cluster_uid_by === keyId,
  };
}

/** `pending`: let in by a rotation and not used yet, until its deadline. */
export type KeyState = "pending" | "active" | "revoked";

/** The columns that give a key's state. */
type KeyTimes = Pick<AgentKeysTable, "revoked_at" | "activate_by" | "last_used_at">;

function keyStateOf({ revoked_at, activate_by, last_used_at }: KeyTimes): KeyState {
  if (revoked_at !== null) return "revoked";
  return activate_by !== null && last_used_at === null ? "pending" : "active";
}

/** Keys that became worthless, and keys that did not. */
export interface Revocation {
  readonly clusterId: ClusterId;
  /** State of the key until now. */
  readonly was: KeyState;
  /** Keys that it had let in and no agent has used yet; they went with it. */
  readonly dropped: readonly KeyId[];
  /** Keys that it had let in and that are in use; a thief of the key may have made them. */
  readonly left: readonly KeyId[];
}

/** Makes a key worthless from now on. @returns undefined when no valid key has this id. */
export async function revokeAgentKey(
  db: Kysely<Database>,
  keyId: KeyId,
  now: Date,
  actor: AuditActor = "operator",
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
  const valid = new Set<string>();
  for (const batch of batches(keyIds)) {
    const rows = await db
      .selectFrom("agent_keys")
      .innerJoin("clusters", "clusters.id", "agent_keys.cluster_id")
      .select("agent_keys.key_id")
      .where("agent_keys.key_id", "in", batch)
      .where("agent_keys.revoked_at", "is", null)
      .where("clusters.disabled_at", "is", null)
      .execute();
    for (const { key_id } of rows) valid.add(key_id);
  }
  return new Set(keyIds.filter((keyId) => !valid.has(keyId)));
}

/** Valid keys of all clusters, for the `clusters` command. */
export async function listAgentKeys(
  db: Kysely<Database>,
): Promise<readonly (Omit<StoredAgentKey, "publicKey"> & { readonly state: KeyState })[]> {
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
 * Adds a cluster before its agent is there, or a key that its owner made, or both. An existing row stays.
 *
 * @throws ConnectError `CC_AGENT_KEY_REFUSED` when the key is there and revoked or another cluster's.
 */
export async function addClusterWithKey(
  db: Kysely<Database>,
  cluster: { readonly clusterId: ClusterId; readonly key?: Pick<StoredAgentKey, "keyId" | "publicKey"> | undefined },
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

/** Keys of every state by id, those after `after`; times are ISO 8601. */
export async function listKeyRecords(
  db: Kysely<Database>,
  query: { readonly after?: string | undefined; readonly clusterId?: string | undefined; readonly limit: number },
): Promise<readonly z.output<typeof AGENT_KEY>[]> {
  const { after = "", clusterId, limit } = query;
  let rows = db.selectFrom("agent_keys").selectAll().orderBy("key_id").limit(limit).where("key_id", ">", after);
  if (clusterId !== undefined) rows = rows.where("cluster_id", "=", clusterId);
  return (await rows.execute()).map((row) => ({
    id: row.key_id,
    cluster: row.cluster_id,
    createdAt: row.created_at,
    addedBy: row.added_by,
    state: keyStateOf(row),
    activateBy: row.activate_by,
    lastUsedAt: row.last_used_at,
    revokedAt: row.revoked_at,
  }));
}

/**
 * Makes a key known that was made elsewhere, for a cluster that is there.
 *
 * @throws ConnectError `CC_CLUSTER_UNKNOWN`, or `CC_AGENT_KEY_REFUSED` for a key that is known already.
 */
export async function addAgentKey(
  db: Kysely<Database>,
  { keyId, clusterId, publicKey }: StoredAgentKey,
  by: { readonly actor: AuditActor; readonly at: Date },
): Promise<void> {
  await db.transaction().execute(async (transaction) => {
    const cluster = await transaction.selectFrom("clusters").select("id").where("id", "=", clusterId).execute();
    if (cluster.length === 0) throw new ConnectError("CC_CLUSTER_UNKNOWN", `There is no cluster ${clusterId}`);
    const added = await transaction
      .insertInto("agent_keys")
      .values({
        key_id: keyId,
        cluster_id: clusterId,
        public_key: publicKey,
        created_at: by.at.toISOString(),
        added_by: actorName(by.actor),
      })
      .onConflict((conflict) => conflict.column("key_id").doNothing())
      .executeTakeFirst();
    if (added.numInsertedOrUpdatedRows !== 1n)
      throw new ConnectError("CC_AGENT_KEY_REFUSED", "The key is known already");
    await recordAudit(transaction, { event: "agent.key.added", ...by, clusterId, keyId });
  });
}
