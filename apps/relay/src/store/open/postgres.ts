import { systemCode } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import { Kysely, PostgresDialect } from "kysely";
import { Pool, types } from "pg";
import type { Database } from "../schema.ts";

export interface PostgresOptions {
  /** Told when a channel breaks while no query runs on it: the next one makes another. */
  readonly onIdleError?: (error: Error) => void;
}

/** Callers wait for the store, so an answer that takes longer is worth nothing to them. */
const QUERY_TIMEOUT_MS = 5_000;
const CONNECT_TIMEOUT_MS = 3_000;
const IDLE_TIMEOUT_MS = 30_000;
const MAX_CHANNELS = 10;
const BIGINT_OID = 20;

/**
 * Opens a PostgreSQL database. Nothing depends on the state of a session there, so a pooler in transaction mode may
 * stand before it.
 *
 * @param url `postgres://user:password@host:port/database?sslmode=verify-full`; never logged.
 * @throws ConnectError `CC_CONFIG_INVALID` for text that is no such address.
 */
export function openPostgres(url: string, options: PostgresOptions = {}): Kysely<Database> {
  if (!URL.canParse(url) || !/^postgres(ql)?:$/.test(new URL(url).protocol)) {
    throw new ConnectError("CC_CONFIG_INVALID", "store.postgres: expected an address that starts with postgres://");
  }
  const pool = new Pool({
    connectionString: url,
    max: MAX_CHANNELS,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    idleTimeoutMillis: IDLE_TIMEOUT_MS,
    query_timeout: QUERY_TIMEOUT_MS,
    keepAlive: true,
    types: { getTypeParser: parserOf },
  });
  // A client that breaks between two queries of a transaction is in use; it has no other error listener then.
  pool.on("connect", (client) => client.on("error", (error) => options.onIdleError?.(error)));
  leaveReadOnly(pool);
  // The same again, for those that wait in the pool.
  pool.on("error", () => undefined);
  return new Kysely<Database>({ dialect: new PostgresDialect({ pool }) });
}

/** SQLSTATE of a write that a standby, or a former primary, refuses. */
const READ_ONLY = "25006";

/**
 * Closes channels on which a write was refused because the server is read-only, so that the next query dials again and
 * finds the new primary behind the same name.
 */
function leaveReadOnly(pool: Pool): void {
  const refused = new WeakSet<object>();
  pool.on("connect", (client) => {
    const query = client.query.bind(client);
    const watched = async (...args: unknown[]): Promise<unknown> => {
      try {
        return await Reflect.apply(query, client, args);
      } catch (error) {
        if (systemCode(error) === READ_ONLY) refused.add(client);
        throw error;
      }
    };
    Reflect.set(client, "query", watched);
  });
  // Not before: its transaction is still to be rolled back.
  pool.on("release", (_error, client) => {
    if (refused.has(client)) client.end().catch(() => undefined);
  });
}

/** Counters and byte sums are far below a number's limit; PostgreSQL's client gives them as text. */
function parserOf(...[oid, format]: Parameters<typeof types.getTypeParser>): ReturnType<typeof types.getTypeParser> {
  return oid === BIGINT_OID ? Number : types.getTypeParser(oid, format);
}
