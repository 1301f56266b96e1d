import type { Kysely } from "kysely";
import { batches } from "../batches.ts";
import type { Database, SessionsTable } from "../schema.ts";
import { type AuditActor, recordAudit } from "./audit.ts";

/** A row without the column that others write. */
export type SessionRow = Omit<SessionsTable, "end_requested_at">;

/** Adds rows, or brings their changing columns up to date. */
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

/** Sessions of a relay that an administrator asked to end. */
export async function findEndRequests(db: Kysely<Database>, relayId: string): Promise<readonly string[]> {
  const rows = await db
    .selectFrom("sessions")
    .select("id")
    .where("relay_id", "=", relayId)
    .where("end_requested_at", "is not", null)
    .execute();
  return rows.map(({ id }) => id);
}

/** Sessions by id, of relays whose lease holds, those after `after`. */
export async function listSessionRows(
  db: Kysely<Database>,
  query: { readonly after?: string | undefined; readonly username?: string | undefined; readonly limit: number },
  now: Date,
): Promise<readonly SessionsTable[]> {
  const { after = "", username, limit } = query;
  let rows = db
    .selectFrom("sessions")
    .innerJoin("relays", "relays.id", "sessions.relay_id")
    .selectAll("sessions")
    .where("relays.lease_until", ">", now.toISOString())
    .where("sessions.id", ">", after)
    .orderBy("sessions.id")
    .limit(limit);
  if (username !== undefined) rows = rows.where("sessions.username", "=", username);
  return await rows.execute();
}

/** Asks the relay of a session to end it. @returns false when there is no such session. */
export async function requestSessionEnd(
  db: Kysely<Database>,
  sessionId: string,
  by: { readonly actor: AuditActor; readonly at: Date },
): Promise<boolean> {
  return await db.transaction().execute(async (transaction) => {
    const row = await transaction
      .updateTable("sessions")
      .set({ end_requested_at: by.at.toISOString() })
      .where("id", "=", sessionId)
      .returning("username")
      .executeTakeFirst();
    if (row === undefined) return false;
    await recordAudit(transaction, { event: "session.end.requested", ...by, sessionId, username: row.username });
    return true;
  });
}
