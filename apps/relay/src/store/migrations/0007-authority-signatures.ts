import type { Transaction } from "kysely";
import type { Database } from "../schema.ts";

/** Signatures of an operator's fleet key over a cluster's authorities; the relay only hands them on. */
export async function addAuthoritySignatures({ schema }: Transaction<Database>): Promise<void> {
  await schema.alterTable("clusters").addColumn("authority_signatures", "text").execute();
}
