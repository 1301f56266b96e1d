import { systemCode } from "@cluster-connect/base";
import { ConnectError, type InstanceId, parseInstanceId } from "@cluster-connect/protocol";
import { createInstanceId } from "@cluster-connect/service";
import type { Kysely } from "kysely";
import { type Dialect, POSTGRES, SQLITE } from "./open/dialect.ts";
import { migrate } from "./open/migrations.ts";
import { openPostgres, type PostgresOptions } from "./open/postgres.ts";
import { openSqlite } from "./open/sqlite.ts";
import type { Database } from "./schema.ts";

/** Where a store is. */
export type StorePlace =
  /** The SQLite file of a single relay. */
  | { readonly kind: "sqlite"; readonly file: string }
  /** A PostgreSQL database that several relays share; the address holds a password. */
  | { readonly kind: "postgres"; readonly url: string };

/** The open store. */
export interface Store {
  readonly db: Kysely<Database>;
  readonly dialect: Dialect;
  /** Names the service for good, the same at each of its relays; made when the store was. */
  readonly relayId: InstanceId;
  close(): Promise<void>;
}

/** How the store is, for `/readyz`. */
export interface StoreState {
  /** It could not be read lately. */
  readonly away: boolean;
  /** Time of the last reading. */
  readonly readAt: Date;
  /** Whether the last reading still counts. */
  readonly withinOutage: boolean;
}

/**
 * Opens a store and brings its schema up to date.
 *
 * @throws ConnectError `CC_STORE_FAILED` or `CC_STORE_NEWER`.
 */
export async function openStore(place: StorePlace, now: Date, options: PostgresOptions = {}): Promise<Store> {
  const { db, dialect } = open(place, options);
  try {
    await migrate(db, dialect, now);
    const relayId = await relayIdOf(db);
    return { db, dialect, relayId, close: () => db.destroy() };
  } catch (error) {
    await db.destroy();
    throw describe(error, place);
  }
}

function open(place: StorePlace, options: PostgresOptions): Pick<Store, "db" | "dialect"> {
  switch (place.kind) {
    case "sqlite":
      return { db: openSqlite(place.file), dialect: SQLITE };
    case "postgres":
      return { db: openPostgres(place.url, options), dialect: POSTGRES };
  }
}

function describe(error: unknown, place: StorePlace): unknown {
  if (error instanceof ConnectError || place.kind === "sqlite") return error;
  const { host } = new URL(place.url);
  const reason = systemCode(error) || (error instanceof Error ? error.message : String(error));
  return new ConnectError("CC_STORE_FAILED", `The database at ${host} cannot be used: ${reason}`, { cause: error });
}

async function relayIdOf(db: Kysely<Database>): Promise<InstanceId> {
  await db
    .insertInto("settings")
    .values({ name: "relay_id", value: createInstanceId() })
    .onConflict((conflict) => conflict.column("name").doNothing())
    .execute();
  const row = await db.selectFrom("settings").select("value").where("name", "=", "relay_id").executeTakeFirstOrThrow();
  return parseInstanceId(row.value);
}
