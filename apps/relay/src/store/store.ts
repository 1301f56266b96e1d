import { randomBytes } from "node:crypto";
import { type InstanceId, parseInstanceId } from "@cluster-connect/protocol";
import type { Kysely } from "kysely";
import { migrate } from "./migrations.ts";
import type { Database } from "./schema.ts";
import { openSqlite } from "./sqlite.ts";

/** The open store. */
export interface Store {
  readonly db: Kysely<Database>;
  /** Names this relay for good; made when the store was. */
  readonly relayId: InstanceId;
  close(): Promise<void>;
}

/**
 * Opens the store of a data directory and brings its schema up to date.
 *
 * @throws ConnectError `CC_STORE_FAILED` or `CC_STORE_NEWER`.
 */
export async function openStore(dataDir: string, now: Date): Promise<Store> {
  const db = openSqlite(dataDir);
  try {
    await migrate(db, now);
    const relayId = await relayIdOf(db);
    return { db, relayId, close: () => db.destroy() };
  } catch (error) {
    await db.destroy();
    throw error;
  }
}

async function relayIdOf(db: Kysely<Database>): Promise<InstanceId> {
  await db
    .insertInto("settings")
    .values({ name: "relay_id", value: randomBytes(16).toString("base64url") })
    .onConflict((conflict) => conflict.column("name").doNothing())
    .execute();
  const row = await db.selectFrom("settings").select("value").where("name", "=", "relay_id").executeTakeFirstOrThrow();
  return parseInstanceId(row.value);
}
