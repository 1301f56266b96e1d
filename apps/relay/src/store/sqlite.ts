import { chmodSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync, type SQLInputValue } from "node:sqlite";
import { ConnectError } from "@cluster-connect/protocol";
import { Kysely, SqliteDialect } from "kysely";
import type { Database } from "./schema.ts";

/** How long a write waits for one of another process, such as the `enroll` command. */
const BUSY_TIMEOUT_MS = 5_000;

/**
 * Opens the SQLite file and makes it and its folder when they are not there.
 *
 * Write-ahead log with full synchronisation: what was acknowledged survives a kill and a power cut.
 *
 * @throws ConnectError `CC_STORE_FAILED` naming the file and the reason.
 */
export function openSqlite(file: string): Kysely<Database> {
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    const database = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS, enableForeignKeyConstraints: true });
    chmodSync(file, 0o600);
    database.exec("pragma journal_mode = wal; pragma synchronous = full");
    return new Kysely<Database>({ dialect: new SqliteDialect({ database: adapt(database) }) });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ConnectError("CC_STORE_FAILED", `The store ${file} cannot be opened: ${reason}`, { cause });
  }
}

/** What kysely's dialect asks of a database, over `node:sqlite`. */
function adapt(database: DatabaseSync): NonNullable<SqliteDatabase> {
  return {
    close: () => database.close(),
    prepare(sql) {
      // A transaction takes the write lock at once: taken later it can fail without waiting.
      const statement = database.prepare(sql === "begin" ? "begin immediate" : sql);
      return {
        reader: statement.columns().length > 0,
        all: (parameters) => statement.all(...parameters.map(parseParameter)),
        run: (parameters) => statement.run(...parameters.map(parseParameter)),
        iterate: (parameters) => statement.iterate(...parameters.map(parseParameter)),
      };
    },
  };
}

type SqliteDatabase = Exclude<ConstructorParameters<typeof SqliteDialect>[0]["database"], (...args: never) => unknown>;

function parseParameter(value: unknown): SQLInputValue {
  if (value === null || typeof value === "string" || typeof value === "number" || typeof value === "bigint") {
    return value;
  }
  if (value instanceof Uint8Array) return value;
  throw new TypeError(`A query parameter is ${typeof value}, which no column takes`);
}
