import type { Transaction } from "kysely";
import type { Database } from "../schema.ts";

/** Streams and sessions that are open, by the relay process that will write their ends; its own row says that it runs. */
export async function createOpenEnds({ schema }: Transaction<Database>): Promise<void> {
  await schema
    .createTable("relay_runs")
    .addColumn("run", "text", (column) => column.primaryKey())
    .addColumn("seen_at", "text", (column) => column.notNull())
    .execute();
  await schema
    .createTable("open_ends")
    .addColumn("id", "text", (column) => column.primaryKey())
    .addColumn("run", "text", (column) => column.notNull())
    .addColumn("entry", "text", (column) => column.notNull())
    .addColumn("up_bytes", "bigint", (column) => column.notNull())
    .addColumn("down_bytes", "bigint", (column) => column.notNull())
    .execute();
  await schema.createIndex("open_ends_by_run").on("open_ends").columns(["run"]).execute();
}
