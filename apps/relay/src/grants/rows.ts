import { randomBytes } from "node:crypto";
import { ConnectError } from "@cluster-connect/protocol";
import { describeProblems } from "@cluster-connect/service";
import type { Kysely } from "kysely";
import { z } from "zod";
import { recordAudit } from "../store/audit.ts";
import type { Database } from "../store/schema.ts";
import { compileGrant, GRANT_SCHEMA, type Grant, type GrantSpec } from "./grant.ts";
import type { StoredGrants } from "./grant-book.ts";

const LABELS = z.record(z.string(), z.string());

/** Every grant of the store, and the labels of enabled clusters. */
export async function readGrantRows(db: Kysely<Database>): Promise<StoredGrants> {
  const rows = await db.selectFrom("grants").select(["id", "spec"]).orderBy("id").execute();
  const clusters = await db
    .selectFrom("clusters")
    .select(["id", "labels"])
    .where("disabled_at", "is", null)
    .orderBy("id")
    .execute();
  return {
    grants: rows.map(({ id, spec }) => compileGrant(id, "api", parseSpec(spec))),
    labels: new Map(clusters.map(({ id, labels }) => [id, LABELS.parse(JSON.parse(labels))])),
  };
}

/** Keeps a new grant. */
export async function addGrantRow(db: Kysely<Database>, spec: GrantSpec, actor: string, now: Date): Promise<Grant> {
  const grant = compileGrant(`api/${randomBytes(9).toString("base64url")}`, "api", spec);
  await db.transaction().execute(async (transaction) => {
    await transaction
      .insertInto("grants")
      .values({
        id: grant.id,
        created_at: now.toISOString(),
        created_by: actor,
        expires_at: spec.expiresAt?.toISOString() ?? null,
        spec: JSON.stringify(spec),
      })
      .execute();
    await recordAudit(transaction, { event: "grant.added", actor, at: now, grantId: grant.id, grant: spec });
  });
  return grant;
}

/** Takes a grant away. @returns false when there is none with this id. */
export async function removeGrantRow(db: Kysely<Database>, id: string, actor: string, now: Date): Promise<boolean> {
  return await db.transaction().execute(async (transaction) => {
    const row = await transaction.selectFrom("grants").select("spec").where("id", "=", id).executeTakeFirst();
    if (row === undefined) return false;
    await transaction.deleteFrom("grants").where("id", "=", id).execute();
    const grant: unknown = JSON.parse(row.spec);
    await recordAudit(transaction, { event: "grant.removed", actor, at: now, grantId: id, grant });
    return true;
  });
}

function parseSpec(text: string): GrantSpec {
  const result = GRANT_SCHEMA.safeParse(JSON.parse(text));
  if (result.success) return result.data;
  throw new ConnectError(
    "CC_STORE_FAILED",
    `A stored grant is not valid: ${describeProblems(result.error).join("; ")}`,
  );
}
