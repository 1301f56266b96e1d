import { ConnectError } from "@cluster-connect/protocol";
import type { Kysely } from "kysely";
import { createFirstTables } from "../migrations/0001-first-tables.ts";
import { createServiceTables } from "../migrations/0002-service-tables.ts";
import { createSupersededAgents } from "../migrations/0003-superseded-agents.ts";
import { addKeyDeadline } from "../migrations/0004-key-deadline.ts";
import { createClusterStatus } from "../migrations/0005-cluster-status.ts";
import { keySupersededAgents } from "../migrations/0006-superseded-by-key.ts";
import { addAuthoritySignatures } from "../migrations/0007-authority-signatures.ts";
import { addPendingAuthorities } from "../migrations/0008-pending-authorities.ts";
import { addAuditActors } from "../migrations/0009-audit-actors.ts";
import { addFollowedAgents } from "../migrations/0010-followed-agents.ts";
import { createOpenEnds } from "../migrations/0011-open-ends.ts";
import { addClusterUid } from "../migrations/0012-cluster-uid.ts";
import type { Migration } from "../migrations/migration.ts";
import type { Database } from "../schema.ts";
import type { Dialect } from "./dialect.ts";

/** In order, forward only: one that was released is never changed. Its version is its place, counted from 1. */
const MIGRATIONS: readonly Migration[] = [
  createFirstTables,
  createServiceTables,
  createSupersededAgents,
  addKeyDeadline,
  createClusterStatus,
  keySupersededAgents,
  addAuthoritySignatures,
  addPendingAuthorities,
  addAuditActors,
  addFollowedAgents,
  createOpenEnds,
  addClusterUid,
];

/** The schema this build writes. */
export const SCHEMA_VERSION: number = MIGRATIONS.length;

/**
 * Brings the schema to {@link SCHEMA_VERSION}, in one transaction that one process at a time is in.
 *
 * @throws ConnectError `CC_STORE_NEWER` when a later version wrote it.
 */
export async function migrate(db: Kysely<Database>, dialect: Dialect, now: Date): Promise<void> {
  await db.transaction().execute(async (transaction) => {
    await dialect.lock(transaction);
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
      await apply(transaction, dialect);
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
