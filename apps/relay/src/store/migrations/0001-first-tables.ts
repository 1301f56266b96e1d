import type { Transaction } from "kysely";
import type { Dialect } from "../open/dialect.ts";
import type { Database } from "../schema.ts";

export async function createFirstTables({ schema }: Transaction<Database>, dialect: Dialect): Promise<void> {
  await schema
    .createTable("settings")
    .addColumn("name", "text", (column) => column.primaryKey())
    .addColumn("value", "text", (column) => column.notNull())
    .execute();
  await schema
    .createTable("clusters")
    .addColumn("id", "text", (column) => column.primaryKey())
    .addColumn("created_at", "text", (column) => column.notNull())
    .addColumn("authorities", "text")
    .addColumn("authorities_at", "text")
    .addColumn("last_seen_at", "text")
    .addColumn("disabled_at", "text")
    .execute();
  await schema
    .createTable("agent_keys")
    .addColumn("key_id", "text", (column) => column.primaryKey())
    .addColumn("cluster_id", "text", (column) => column.notNull().references("clusters.id"))
    .addColumn("public_key", "text", (column) => column.notNull())
    .addColumn("created_at", "text", (column) => column.notNull())
    .addColumn("last_used_at", "text")
    .addColumn("revoked_at", "text")
    .execute();
  await schema
    .createTable("enrollment_codes")
    .addColumn("code_hash", "text", (column) => column.primaryKey())
    .addColumn("cluster_id", "text", (column) => column.notNull().references("clusters.id"))
    .addColumn("created_at", "text", (column) => column.notNull())
    .addColumn("expires_at", "text", (column) => column.notNull())
    .addColumn("used_at", "text")
    .addColumn("used_by_key_id", "text")
    .execute();
  await schema
    .createTable("audit")
    .addColumn("id", dialect.countedKey)
    .addColumn("at", "text", (column) => column.notNull())
    .addColumn("event", "text", (column) => column.notNull())
    .addColumn("actor", "text", (column) => column.notNull())
    .addColumn("cluster_id", "text")
    .addColumn("detail", "text", (column) => column.notNull())
    .execute();
}
