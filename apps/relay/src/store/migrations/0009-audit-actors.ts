import type { Transaction } from "kysely";
import type { Database } from "../schema.ts";

/** Issuer and subject of an audit entry's actor, beside the name that may be mapped from any claim. */
export async function addAuditActors({ schema }: Transaction<Database>): Promise<void> {
  await schema.alterTable("audit").addColumn("issuer", "text").execute();
  await schema.alterTable("audit").addColumn("subject", "text").execute();
}
