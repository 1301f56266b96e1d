import { type ClusterId, ConnectError, type KeyId, parseClusterId } from "@cluster-connect/protocol";
import type { Kysely, Transaction } from "kysely";
import { recordAudit } from "./audit.ts";
import { setAuthorities } from "./clusters.ts";
import type { Database } from "./schema.ts";

/** Keeps the hash of a new code; the cluster is made when it is not there. */
export async function addEnrollmentCode(
  db: Kysely<Database>,
  code: {
    readonly clusterId: ClusterId;
    readonly hash: string;
    readonly expiresAt: Date;
    /** How many keys it lets in; one unless told otherwise. */
    readonly maxUses?: number;
  },
  now: Date,
): Promise<void> {
  const { clusterId, hash, expiresAt, maxUses = 1 } = code;
  const created_at = now.toISOString();
  await db.transaction().execute(async (transaction) => {
    await transaction
      .insertInto("clusters")
      .values({ id: clusterId, created_at })
      .onConflict((conflict) => conflict.column("id").doNothing())
      .execute();
    await transaction
      .insertInto("enrollment_codes")
      .values({
        ...{ code_hash: hash, cluster_id: clusterId, created_at, expires_at: expiresAt.toISOString() },
        max_uses: maxUses,
      })
      .execute();
    await recordAudit(transaction, { event: "enrollment.code.made", actor: "operator", clusterId, at: now });
  });
}

/** What an agent shows to be enrolled. */
export interface EnrollmentRequest {
  readonly codeHash: string;
  readonly keyId: KeyId;
  /** SubjectPublicKeyInfo, PEM. */
  readonly publicKey: string;
  /** PEM. */
  readonly clusterAuthorities: string;
  /** The only cluster that the code may be for; any, when it is left out. */
  readonly clusterId?: string | undefined;
}

/**
 * Turns a code into an agent key, as often as the code allows. The same key may ask again with the same code, because its first answer may
 * have been lost on the way.
 *
 * @throws ConnectError `CC_ENROLLMENT_CODE_INVALID` for a code that is unknown, expired, used, for another cluster than the one
 *   that is asked for, or for one that is disabled, not told apart; such a code is not used up.
 */
export async function redeemEnrollmentCode(
  db: Kysely<Database>,
  request: EnrollmentRequest,
  now: Date,
): Promise<ClusterId> {
  // Anybody may ask: who has no code does not get as far as the lock that writers wait for.
  const known = await db
    .selectFrom("enrollment_codes")
    .select("code_hash")
    .where("code_hash", "=", request.codeHash)
    .executeTakeFirst();
  if (known === undefined) throw refused();
  return await db.transaction().execute(async (transaction) => {
    const code = await transaction
      .selectFrom("enrollment_codes")
      .innerJoin("clusters", "clusters.id", "enrollment_codes.cluster_id")
      .select("cluster_id")
      .where("code_hash", "=", request.codeHash)
      .where("clusters.disabled_at", "is", null)
      .executeTakeFirst();
    if (code === undefined) throw refused();
    const clusterId = parseClusterId(code.cluster_id);
    if (request.clusterId !== undefined && request.clusterId !== clusterId) throw refused();
    if (!(await noteUse(transaction, request, now))) return clusterId;
    await countUse(transaction, request, now);
    await addAgentKey(transaction, clusterId, request, now);
    return clusterId;
  });
}

/** @returns false when this key has used this code before. */
async function noteUse(
  transaction: Transaction<Database>,
  { codeHash, keyId }: EnrollmentRequest,
  now: Date,
): Promise<boolean> {
  const result = await transaction
    .insertInto("enrollment_uses")
    .values({ code_hash: codeHash, key_id: keyId, used_at: now.toISOString() })
    .onConflict((conflict) => conflict.columns(["code_hash", "key_id"]).doNothing())
    .executeTakeFirst();
  return result.numInsertedOrUpdatedRows === 1n;
}

/** Judges and counts in one statement, so that of many who ask at once no more get in than may. */
async function countUse(
  transaction: Transaction<Database>,
  { codeHash, keyId }: EnrollmentRequest,
  now: Date,
): Promise<void> {
  const used_at = now.toISOString();
  const result = await transaction
    .updateTable("enrollment_codes")
    .set(({ eb }) => ({ uses: eb("uses", "+", 1), used_at, used_by_key_id: keyId }))
    .where("code_hash", "=", codeHash)
    .where("expires_at", ">", used_at)
    .where("revoked_at", "is", null)
    .whereRef("uses", "<", "max_uses")
    .executeTakeFirst();
  if (result.numUpdatedRows === 0n) throw refused();
}

async function addAgentKey(
  transaction: Transaction<Database>,
  clusterId: ClusterId,
  request: EnrollmentRequest,
  now: Date,
): Promise<void> {
  const { keyId, publicKey, clusterAuthorities } = request;
  const taken = await transaction
    .selectFrom("agent_keys")
    .select("cluster_id")
    .where("key_id", "=", keyId)
    .executeTakeFirst();
  if (taken !== undefined) throw refused();
  await transaction
    .insertInto("agent_keys")
    .values({ key_id: keyId, cluster_id: clusterId, public_key: publicKey, created_at: now.toISOString() })
    .execute();
  await setAuthorities(transaction, clusterId, clusterAuthorities, now);
  await recordAudit(transaction, { event: "agent.enrolled", actor: keyId, clusterId, at: now });
}

function refused(): ConnectError {
  return new ConnectError("CC_ENROLLMENT_CODE_INVALID", "The enrollment code is wrong, used or expired");
}
