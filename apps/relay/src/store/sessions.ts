import type { Kysely } from "kysely";
import type { Database, SessionsTable } from "./schema.ts";

const BATCH_SIZE = 200;

/** A row without what others write into it. */
export type SessionRow = Omit<SessionsTable, "end_requested_at">;

/** Adds rows, or brings what changes in them up to date. */
export async function writeSessionRows(db: Kysely<Database>, rows: readonly SessionRow[]): Promise<void> {
  for (const batch of batches(rows)) {
    await db
      .insertInto("sessions")
      .values(batch)
      .onConflict((conflict) =>
        conflict.column("id").doUpdateSet(({ ref }) => ({
          clusters: ref("excluded.clusters"),
          updated_at: ref("excluded.updated_at"),
        })),
      )
      .execute();
  }
}

/** Takes out the rows of sessions that have ended. */
export async function dropSessionRows(db: Kysely<Database>, ids: readonly string[]): Promise<void> {
  for (const batch of batches(ids)) await db.deleteFrom("sessions").where("id", "in", batch).execute();
}

/** Sessions of a relay that somebody asked to end. */
export async function findEndRequests(db: Kysely<Database>, relayId: string): Promise<readonly string[]> {
  const rows = await db
    .selectFrom("sessions")
    .select("id")
    .where("relay_id", "=", relayId)
    .where("end_requested_at", "is not", null)
    .execute();
  return rows.map(({ id }) => id);
}

/** Databases limit the parameters of one statement. */
function batches<T>(items: readonly T[]): readonly (readonly T[])[] {
  const count = Math.ceil(items.length / BATCH_SIZE);
  return Array.from({ length: count }, (_, index) => items.slice(index * BATCH_SIZE, (index + 1) * BATCH_SIZE));
}
