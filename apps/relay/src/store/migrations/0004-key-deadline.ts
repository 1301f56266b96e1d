import type { Transaction } from "kysely";
import type { Database } from "../schema.ts";

/** Keys that a rotation let in have to be used by then. */
export async function addKeyDeadline({ schema }: Transaction<Database>): Promise<void> {
  await schema.alterTable("agent_keys").addColumn("activate_by", "text").execute();
}
