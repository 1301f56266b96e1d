import { ConnectError, type KeyId, parseClusterId, parseKeyId } from "@cluster-connect/protocol";
import type { Kysely, Transaction } from "kysely";
import type { Database } from "../schema.ts";
import { findAgentKey, revokeAgentKey, type StoredAgentKey } from "./agent-keys.ts";
import { recordAudit } from "./audit.ts";

/** Long enough for a cluster that was shut down just after its rotation to come back. */
const ACTIVATION_MS = 7 * 86_400_000;
/** An agent asks for one key until it uses it; a sender that asks for more only fills the store. */
const MAX_PENDING_KEYS = 8;

/**
 * Adds the key that replaces another one of the same cluster; adding it again changes nothing. An agent has to use it
 * within a week, or {@link dropAbandonedKeys} takes it away.
 *
 * @throws ConnectError `CC_AGENT_KEY_REFUSED` when the key is there and revoked or another cluster's, `CC_LIMIT_REACHED`
 *   when the former key has let in many that no agent has used yet.
 */
export async function addRotatedKey(
  db: Kysely<Database>,
  key: StoredAgentKey,
  former: KeyId,
  now: Date,
): Promise<void> {
  const { keyId, clusterId, publicKey } = key;
  const activateBy = new Date(now.getTime() + ACTIVATION_MS);
  await db.transaction().execute(async (transaction) => {
    const result = await transaction
      .insertInto("agent_keys")
      .values({
        key_id: keyId,
        cluster_id: clusterId,
        public_key: publicKey,
        created_at: now.toISOString(),
        added_by: former,
        activate_by: activateBy.toISOString(),
      })
      .onConflict((conflict) => conflict.column("key_id").doNothing())
      .executeTakeFirst();
    if (result.numInsertedOrUpdatedRows === 1n) {
      await recordAudit(transaction, { event: "agent.key.added", actor: former, clusterId, at: now, keyId });
      await refuseTooMany(transaction, former);
      return;
    }
    const found = await findAgentKey(transaction, keyId);
    if (found?.clusterId === clusterId) return;
    throw new ConnectError("CC_AGENT_KEY_REFUSED", "The new key cannot be enrolled for this cluster");
  });
}

/** The one that was just added counts, and goes again when this throws; the audit lets one in after the other. */
async function refuseTooMany(transaction: Transaction<Database>, former: KeyId): Promise<void> {
  const { count } = await transaction
    .selectFrom("agent_keys")
    .select(({ fn }) => fn.countAll().as("count"))
    .where("added_by", "=", former)
    .where("last_used_at", "is", null)
    .where("revoked_at", "is", null)
    .executeTakeFirstOrThrow();
  if (Number(count) <= MAX_PENDING_KEYS) return;
  throw new ConnectError("CC_LIMIT_REACHED", `At most ${MAX_PENDING_KEYS} new keys that no agent has used yet`);
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
 * Takes away keys that a rotation let in and that no agent has used by their deadline: it broke off before the key was
 * kept, or another party asked for it.
 *
 * @returns the keys it took away.
 */
export async function dropAbandonedKeys(db: Kysely<Database>, now: Date): Promise<readonly KeyId[]> {
  const at = now.toISOString();
  const rows = await db
    .selectFrom("agent_keys")
    .select("key_id")
    .where("activate_by", "<=", at)
    .where("last_used_at", "is", null)
    .where("revoked_at", "is", null)
    .where(({ not, exists, selectFrom }) =>
      not(exists(selectFrom("tunnels").select("tunnels.id").whereRef("tunnels.key_id", "=", "agent_keys.key_id"))),
    )
    .execute();
  const dropped: KeyId[] = [];
  for (const { key_id } of rows) {
    await db.transaction().execute(async (transaction) => {
      // Judged again: it may have been used meanwhile, or another relay was faster.
      const row = await transaction
        .updateTable("agent_keys")
        .set({ revoked_at: at })
        .where("key_id", "=", key_id)
        .where("last_used_at", "is", null)
        .where("revoked_at", "is", null)
        .returning("cluster_id")
        .executeTakeFirst();
      if (row === undefined) return;
      const keyId = parseKeyId(key_id);
      const clusterId = parseClusterId(row.cluster_id);
      await recordAudit(transaction, { event: "agent.key.abandoned", actor: "rotation", clusterId, at: now, keyId });
      dropped.push(keyId);
    });
  }
  return dropped;
}
