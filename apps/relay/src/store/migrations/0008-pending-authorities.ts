import type { Transaction } from "kysely";
import type { Database } from "../schema.ts";

/** Authorities that an agent announced and no administrator has accepted yet. */
export async function addPendingAuthorities({ schema }: Transaction<Database>): Promise<void> {
  await schema.alterTable("clusters").addColumn("pending_authorities", "text").execute();
  await schema.alterTable("clusters").addColumn("pending_authorities_at", "text").execute();
}
