import type { Kysely } from "kysely";
import type { Database } from "../schema.ts";
import { actorName, recordAudit } from "./audit.ts";
import type { ChangedBy } from "./clusters.ts";

/** Every stored grant by id, and the labels of every enabled cluster; both as JSON text. */
export async function listGrantRows(db: Kysely<Database>): Promise<{
  readonly grants: readonly { readonly id: string; readonly spec: string }[];
  readonly clusters: readonly { readonly id: string; readonly labels: string }[];
}> {
  const grants = await db.selectFrom("grants").select(["id", "spec"]).orderBy("id").execute();
  const clusters = await db
    .selectFrom("clusters")
    .select(["id", "labels"])
    .where("disabled_at", "is", null)
    .orderBy("id")
    .execute();
  return { grants, clusters };
}

/** Keeps a new grant. */
export async function addGrantRow(
  db: Kysely<Database>,
  grant: { readonly id: string; readonly spec: { readonly expiresAt?: Date | undefined } },
  by: ChangedBy,
): Promise<void> {
  const { id, spec } = grant;
  await db.transaction().execute(async (transaction) => {
    await transaction
      .insertInto("grants")
      .values({
        id,
        created_at: by.at.toISOString(),
        created_by: actorName(by.actor),
        expires_at: spec.expiresAt?.toISOString() ?? null,
        spec: JSON.stringify(spec),
      })
      .execute();
    await recordAudit(transaction, { event: "grant.added", ...by, grantId: id, grant: spec });
  });
}

/** Takes a grant away. @returns false when there is none with this id. */
export async function removeGrantRow(db: Kysely<Database>, id: string, by: ChangedBy): Promise<boolean> {
  return await db.transaction().execute(async (transaction) => {
    const row = await transaction.selectFrom("grants").select("spec").where("id", "=", id).executeTakeFirst();
    if (row === undefined) return false;
    await transaction.deleteFrom("grants").where("id", "=", id).execute();
    const grant = specOf(row.spec);
    await recordAudit(transaction, { event: "grant.removed", ...by, grantId: id, grant });
    return true;
  });
}

/** A row whose text was damaged can be removed all the same; the audit has its text then. */
function specOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return { damaged: text };
  }
}
