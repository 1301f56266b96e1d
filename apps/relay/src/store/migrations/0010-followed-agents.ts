import type { Transaction } from "kysely";
import type { Database } from "../schema.ts";

/** Killed agents whose place a tunnel's agent took: their instance ids, separated by spaces. */
export async function addFollowedAgents({ schema }: Transaction<Database>): Promise<void> {
  await schema
    .alterTable("tunnels")
    .addColumn("follows", "text", (column) => column.notNull().defaultTo(""))
    .execute();
}
