import type { Transaction } from "kysely";
import type { Database } from "../schema.ts";

/** Agents that had to make way for newer ones with the same key. */
export async function createSupersededAgents({ schema }: Transaction<Database>): Promise<void> {
  await schema
    .createTable("superseded_agents")
    .addColumn("agent_instance_id", "text", (column) => column.primaryKey())
    .addColumn("key_id", "text", (column) => column.notNull())
    .addColumn("at", "text", (column) => column.notNull())
    .execute();
}
