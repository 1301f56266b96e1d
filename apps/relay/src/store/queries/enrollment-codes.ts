import type { ENROLLMENT_CODE } from "@cluster-connect/api";
import { type ClusterId, ConnectError, type KeyId, parseClusterId } from "@cluster-connect/protocol";
import type { Kysely, Transaction } from "kysely";
import type { z } from "zod";
import type { Database } from "../schema.ts";
import { type AuditActor, actorName, recordAudit } from "./audit.ts";
import { setEnrolled } from "./clusters.ts";

/** A code as it is kept: by its hash, which is also its id. */
export interface NewEnrollmentCode {
  readonly clusterId: ClusterId;
  readonly hash: string;
  readonly expiresAt: Date;
  /** How many keys it lets in; one unless told otherwise. */
  readonly maxUses?: number;
  /** Maker of the code; the operator of the relay unless told otherwise. */
  readonly createdBy?: AuditActor;
}

/** Keeps the hash of a new code; the cluster is made when it is not there. */
export async function addEnrollmentCode(db: Kysely<Database>, code: NewEnrollmentCode, now: Date): Promise<void> {
  const { clusterId, hash, maxUses = 1, createdBy = "operator" } = code;
  const created_at = now.toISOString();
  const expiresAt = code.expiresAt.toISOString();
  await db.transaction().execute(async (transaction) => {
    await transaction
      .insertInto("clusters")
      .values({ id: clusterId, created_at })
      .onConflict((conflict) => conflict.column("id").doNothing())
      .execute();
    await transaction
      .insertInto("enrollment_codes")
      .values({
        code_hash: hash,
        cluster_id: clusterId,
        created_at,
        created_by: actorName(createdBy),
        expires_at: expiresAt,
        max_uses: maxUses,
      })
      .execute();
    const details = { codeId: hash, expiresAt, maxUses };
    await recordAudit(transaction, { event: "enrollment.code.made", actor: createdBy, clusterId, at: now, ...details });
  });
}

/** Codes by id, those after `after`; times are ISO 8601. */
export async function listEnrollmentCodes(
  db: Kysely<Database>,
  query: { readonly after?: string | undefined; readonly clusterId?: string | undefined; readonly limit: number },
): Promise<readonly z.output<typeof ENROLLMENT_CODE>[]> {
  const { after = "", clusterId, limit } = query;
  let rows = db.selectFrom("enrollment_codes").selectAll().orderBy("code_hash").limit(limit);
  rows = rows.where("code_hash", ">", after);
  if (clusterId !== undefined) rows = rows.where("cluster_id", "=", clusterId);
  return (await rows.execute()).map((row) => ({
    id: row.code_hash,
    cluster: row.cluster_id,
    createdAt: row.created_at,
    createdBy: row.created_by,
    expiresAt: row.expires_at,
    maxUses: row.max_uses,
    uses: row.uses,
    revokedAt: row.revoked_at,
  }));
}

/** Makes a code worthless. @returns false when no valid one has this id. */
export async function revokeEnrollmentCode(
  db: Kysely<Database>,
  codeId: string,
  by: { readonly actor: AuditActor; readonly at: Date },
): Promise<boolean> {
  return await db.transaction().execute(async (transaction) => {
    const row = await transaction
      .updateTable("enrollment_codes")
      .set({ revoked_at: by.at.toISOString() })
      .where("code_hash", "=", codeId)
      .where("revoked_at", "is", null)
      .returning("cluster_id")
      .executeTakeFirst();
    if (row === undefined) return false;
    const clusterId = parseClusterId(row.cluster_id);
    await recordAudit(transaction, { event: "enrollment.code.revoked", clusterId, codeId, ...by });
    return true;
  });
}

/** Fields that an agent shows to be enrolled. */
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
  // Any sender may ask: one without a code does not get as far as the lock that writers wait for.
  const known = await db
    .selectFrom("enrollment_codes")
    .select("code_hash")
    .where("code_hash", "=", request.codeHash)
    .executeTakeFirst();
  if (known === undefined) throw refusedCode();
  return await db.transaction().execute(async (transaction) => {
    const code = await transaction
      .selectFrom("enrollment_codes")
      .innerJoin("clusters", "clusters.id", "enrollment_codes.cluster_id")
      .select("cluster_id")
      .where("code_hash", "=", request.codeHash)
      .where("clusters.disabled_at", "is", null)
      .executeTakeFirst();
    if (code === undefined) throw refusedCode();
    const clusterId = parseClusterId(code.cluster_id);
    if (request.clusterId !== undefined && request.clusterId !== clusterId) throw refusedCode();
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
  if (result.numUpdatedRows === 0n) throw refusedCode();
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
  if (taken !== undefined) throw refusedCode();
  await transaction
    .insertInto("agent_keys")
    .values({ key_id: keyId, cluster_id: clusterId, public_key: publicKey, created_at: now.toISOString() })
    .execute();
  await setEnrolled(transaction, clusterId, { authorities: clusterAuthorities, keyId }, now);
  await recordAudit(transaction, { event: "agent.enrolled", actor: keyId, clusterId, at: now });
}

function refusedCode(): ConnectError {
  return new ConnectError("CC_ENROLLMENT_CODE_INVALID", "The enrollment code is wrong, used or expired");
}
