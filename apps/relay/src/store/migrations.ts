import { ConnectError } from "@cluster-connect/protocol";
import type { Kysely, SchemaModule } from "kysely";
import type { Database } from "./schema.ts";

type Migration = (schema: SchemaModule) => Promise<void>;

/** In order, forward only: one that was released is never changed. Its version is its place, counted from 1. */
const MIGRATIONS: readonly Migration[] = [createFirstTables];

/** The schema this build writes. */
export const SCHEMA_VERSION: number = MIGRATIONS.length;

/**
 * Brings the schema to {@link SCHEMA_VERSION}, in one transaction.
 *
 * @throws ConnectError `CC_STORE_NEWER` when a later version wrote it.
 */
export async function migrate(db: Kysely<Database>, now: Date): Promise<void> {
  await db.transaction().execute(async (transaction) => {
    await transaction.schema
      .createTable("schema_migrations")
      .ifNotExists()
      .addColumn("version", "integer", (column) => column.primaryKey())
      .addColumn("applied_at", "text", (column) => column.notNull())
      .execute();
    const found = await transaction
      .selectFrom("schema_migrations")
      .select(({ fn }) => fn.max("version").as("version"))
      .executeTakeFirst();
    const version = Number(found?.version ?? 0);
    if (version > SCHEMA_VERSION) throw newer(version);
    for (const [index, apply] of MIGRATIONS.entries()) {
      if (index < version) continue;
      await apply(transaction.schema);
      await transaction
        .insertInto("schema_migrations")
        .values({ version: index + 1, applied_at: now.toISOString() })
        .execute();
    }
  });
}

function newer(version: number): ConnectError {
  return new ConnectError(
    "CC_STORE_NEWER",
    `The store has schema ${version}, this version knows up to ${SCHEMA_VERSION}`,
  );
}

async function createFirstTables(schema: SchemaModule): Promise<void> {
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
    .addColumn("id", "integer", (column) => column.primaryKey().autoIncrement())
    .addColumn("at", "text", (column) => column.notNull())
    .addColumn("event", "text", (column) => column.notNull())
    .addColumn("actor", "text", (column) => column.notNull())
    .addColumn("cluster_id", "text")
    .addColumn("detail", "text", (column) => column.notNull())
    .execute();
}
