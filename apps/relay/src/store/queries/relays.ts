import { type InstanceId, parseInstanceId } from "@cluster-connect/protocol";
import { databaseNow } from "../open/dialect.ts";
import type { Store } from "../store.ts";

/** A relay whose lease holds. */
export interface StoredRelay {
  readonly id: InstanceId;
  /** `host:port` for its peers; empty when it takes none. */
  readonly address: string;
  readonly draining: boolean;
  /** How long the lease holds from the moment of the question on. */
  readonly leaseMs: number;
}

export interface OwnRelay {
  readonly id: InstanceId;
  readonly address: string;
  readonly software: string;
  readonly startedAt: Date;
  readonly draining: boolean;
}

/** Rows of relays that ended without a word are kept so long after their lease, for administrators who look. */
const KEEP_ENDED_MS = 60_000;

/**
 * Makes or renews a relay's lease, by the database's clock, and removes relays that ended long ago.
 *
 * @returns whether the row was new: rows that belonged to a former one are gone.
 */
export async function renewLease(store: Store, own: OwnRelay, ttlMs: number): Promise<{ readonly isNew: boolean }> {
  const { db, dialect } = store;
  return await db.transaction().execute(async (transaction) => {
    const now = await databaseNow(transaction, dialect);
    const lease_until = new Date(now.getTime() + ttlMs).toISOString();
    const draining_at = own.draining ? now.toISOString() : null;
    const { numUpdatedRows } = await transaction
      .updateTable("relays")
      .set({ lease_until, draining_at })
      .where("id", "=", own.id)
      .executeTakeFirst();
    const isNew = numUpdatedRows === 0n;
    if (isNew) {
      const { id, address, software, startedAt } = own;
      const row = { id, address, software, started_at: startedAt.toISOString(), lease_until, draining_at };
      await transaction.insertInto("relays").values(row).execute();
    }
    const old = new Date(now.getTime() - KEEP_ENDED_MS).toISOString();
    await transaction.deleteFrom("relays").where("lease_until", "<", old).execute();
    return { isNew };
  });
}

/** Gives the lease up; the relay's tunnels and sessions go with it. */
export async function endLease(store: Store, id: InstanceId): Promise<void> {
  await store.db.deleteFrom("relays").where("id", "=", id).execute();
}

/** Relays whose lease holds by the database's clock. */
export async function listRelays(store: Store): Promise<readonly StoredRelay[]> {
  const { now } = store.dialect;
  const rows = await store.db
    .selectFrom("relays")
    .select(["id", "address", "draining_at", "lease_until", now.as("now")])
    .where("lease_until", ">", now)
    .execute();
  return rows.map((row) => ({
    id: parseInstanceId(row.id),
    address: row.address,
    draining: row.draining_at !== null,
    leaseMs: new Date(row.lease_until).getTime() - new Date(row.now).getTime(),
  }));
}
