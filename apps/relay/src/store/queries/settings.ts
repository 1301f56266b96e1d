import type { Kysely } from "kysely";
import type { Database } from "../schema.ts";

/** A value that relays which share the store share too. */
export async function readSetting(db: Kysely<Database>, name: string): Promise<string | undefined> {
  const row = await db.selectFrom("settings").select("value").where("name", "=", name).executeTakeFirst();
  return row?.value;
}

export async function writeSetting(db: Kysely<Database>, name: string, value: string): Promise<void> {
  await db
    .insertInto("settings")
    .values({ name, value })
    .onConflict((conflict) => conflict.column("name").doUpdateSet({ value }))
    .execute();
}

/** Resolves when the store takes a write; a database that became read-only still answers. */
export async function askStore(db: Kysely<Database>): Promise<void> {
  await db
    .updateTable("settings")
    .set(({ ref }) => ({ value: ref("value") }))
    .where("name", "=", "relay_id")
    .execute();
}
