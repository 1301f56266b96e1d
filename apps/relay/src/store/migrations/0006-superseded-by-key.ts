import { sql, type Transaction } from "kysely";
import type { Database } from "../schema.ts";

/** An agent that had to make way is known by its key and its name together. */
export async function keySupersededAgents(transaction: Transaction<Database>): Promise<void> {
  const { schema } = transaction;
  await schema.alterTable("superseded_agents").renameTo("superseded_agents_before").execute();
  await schema
    .createTable("superseded_agents")
    .addColumn("agent_instance_id", "text", (column) => column.notNull())
    .addColumn("key_id", "text", (column) => column.notNull())
    .addColumn("at", "text", (column) => column.notNull())
    .addPrimaryKeyConstraint("superseded_agents_by_key", ["key_id", "agent_instance_id"])
    .execute();
  await sql`insert into superseded_agents (agent_instance_id, key_id, at)
    select agent_instance_id, key_id, at from superseded_agents_before`.execute(transaction);
  await schema.dropTable("superseded_agents_before").execute();
}
