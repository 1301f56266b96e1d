import type { Transaction } from "kysely";
import type { Database } from "../schema.ts";

/** Each cluster's last status, by any relay, and the messages about it still to be sent. */
export async function createClusterStatus({ schema }: Transaction<Database>): Promise<void> {
  await schema
    .createTable("cluster_status")
    .addColumn("cluster_id", "text", (column) => column.primaryKey())
    .addColumn("status", "text", (column) => column.notNull())
    .addColumn("reason", "text")
    .addColumn("at", "text", (column) => column.notNull())
    .addColumn("version", "integer", (column) => column.notNull())
    .execute();
  await schema
    .createTable("status_deliveries")
    .addColumn("id", "text", (column) => column.primaryKey())
    .addColumn("relay_id", "text", (column) => column.notNull())
    .addColumn("body", "text", (column) => column.notNull())
    .addColumn("at", "text", (column) => column.notNull())
    .execute();
}
