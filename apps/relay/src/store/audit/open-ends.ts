import { type ClusterId, parseClusterId } from "@cluster-connect/protocol";
import type { Transaction } from "kysely";
import { z } from "zod";
import { batches } from "../batches.ts";
import { databaseNow } from "../open/dialect.ts";
import { type AuditActor, type AuditEntry, recordAuditEntries } from "../queries/audit.ts";
import { parseDetail } from "../queries/audit-seals.ts";
import type { Database } from "../schema.ts";
import type { Store } from "../store.ts";

/** The end of a stream or a session as far as it is known before it comes: all but when, how and how many bytes. */
export interface OpenEnd {
  readonly event: string;
  readonly actor: AuditActor;
  readonly clusterId?: ClusterId;
  readonly [detail: string]: unknown;
}

/** An end that is not there yet, as the store keeps it. */
export interface OpenEndRow {
  readonly id: string;
  readonly entry: OpenEnd;
  readonly upBytes: number;
  readonly downBytes: number;
}

type Db = Store["db"];

/** Rows of one statement. */
const ROWS = 200;
/** Ends that one transaction writes. */
const LOST_ROWS = 500;

/** Says that a relay process runs, by the clock of the database. */
export async function noteRun({ db, dialect }: Pick<Store, "db" | "dialect">, run: string): Promise<void> {
  const seenAt = (await databaseNow(db, dialect)).toISOString();
  await db
    .insertInto("relay_runs")
    .values({ run, seen_at: seenAt })
    .onConflict((conflict) => conflict.column("run").doUpdateSet({ seen_at: seenAt }))
    .execute();
}

export async function removeRun(db: Db, run: string): Promise<void> {
  await db.deleteFrom("relay_runs").where("run", "=", run).execute();
}

/** Writes rows, over former ones of the same ids. */
export async function writeOpenEnds(db: Db, run: string, rows: readonly OpenEndRow[]): Promise<void> {
  for (const batch of batches(rows, ROWS)) {
    const values = batch.map(({ id, entry, upBytes, downBytes }) => ({
      id,
      run,
      entry: JSON.stringify(entry),
      up_bytes: upBytes,
      down_bytes: downBytes,
    }));
    await db
      .insertInto("open_ends")
      .values(values)
      .onConflict((conflict) =>
        conflict.column("id").doUpdateSet(({ ref }) => ({
          up_bytes: ref("excluded.up_bytes"),
          down_bytes: ref("excluded.down_bytes"),
        })),
      )
      .execute();
  }
}

export async function removeOpenEnds(db: Db, ids: readonly string[]): Promise<void> {
  for (const batch of batches(ids, ROWS)) await db.deleteFrom("open_ends").where("id", "in", batch).execute();
}

/** A relay process that ended without a word, and how many ends it owed. */
export interface LostRun {
  readonly run: string;
  readonly seenAt: string;
  readonly ends: number;
}

/**
 * Writes the ends that relay processes owe which were not seen for so long, each once however many relays look.
 *
 * @param own this process, which runs.
 */
export async function writeLostEnds(
  { db, dialect }: Pick<Store, "db" | "dialect">,
  { own, lostAfterMs, now }: { readonly own: string; readonly lostAfterMs: number; readonly now: Date },
): Promise<readonly LostRun[]> {
  const before = new Date((await databaseNow(db, dialect)).getTime() - lostAfterMs).toISOString();
  const lost = await db
    .selectFrom("relay_runs")
    .selectAll()
    .where("run", "!=", own)
    .where("seen_at", "<", before)
    .execute();
  const told: LostRun[] = [];
  for (const { run, seen_at: seenAt } of lost) {
    let ends = 0;
    for (;;) {
      const written = await db.transaction().execute((transaction) => writeSome(transaction, { run, seenAt, now }));
      if (written === undefined) break;
      ends += written.ends;
      if (!written.isLast) continue;
      told.push({ run, seenAt, ends });
      break;
    }
  }
  return told;
}

/** @returns undefined when another relay was first, or the process is back. */
async function writeSome(
  transaction: Transaction<Database>,
  { run, seenAt, now }: { readonly run: string; readonly seenAt: string; readonly now: Date },
): Promise<{ readonly ends: number; readonly isLast: boolean } | undefined> {
  // Locks the row: one relay at a time goes on.
  const held = await transaction
    .updateTable("relay_runs")
    .set(({ ref }) => ({ seen_at: ref("seen_at") }))
    .where("run", "=", run)
    .where("seen_at", "=", seenAt)
    .returning("run")
    .executeTakeFirst();
  if (held === undefined) return undefined;
  const rows = await transaction.selectFrom("open_ends").selectAll().where("run", "=", run).limit(LOST_ROWS).execute();
  const entries: AuditEntry[] = rows.flatMap(({ entry, up_bytes, down_bytes }) => {
    const end = endOf(entry);
    const bytes = { upBytes: Number(up_bytes), downBytes: Number(down_bytes) };
    return end === undefined ? [] : [{ ...end, at: now, code: "CC_CHANNEL_LOST", lastSeenAt: seenAt, ...bytes }];
  });
  const isLast = rows.length < LOST_ROWS;
  if (isLast) {
    await transaction.deleteFrom("relay_runs").where("run", "=", run).execute();
    entries.push({ event: "relay.lost", actor: "relay", at: now, lastSeenAt: seenAt, run });
  }
  await recordAuditEntries(transaction, entries);
  const ids = rows.map(({ id }) => id);
  for (const batch of batches(ids, ROWS)) await transaction.deleteFrom("open_ends").where("id", "in", batch).execute();
  return { ends: entries.length - (isLast ? 1 : 0), isLast };
}

const ENTRY = z.looseObject({
  event: z.enum(["stream.end", "session.end"]),
  actor: z.object({ issuer: z.string(), subject: z.string(), username: z.string() }),
  clusterId: z.string().transform(parseClusterId).optional(),
});

/** Undefined for a text that no relay has written. */
function endOf(text: string): OpenEnd | undefined {
  try {
    const { clusterId, ...entry } = ENTRY.parse(parseDetail(text));
    return clusterId === undefined ? entry : { ...entry, clusterId };
  } catch {
    return undefined;
  }
}
