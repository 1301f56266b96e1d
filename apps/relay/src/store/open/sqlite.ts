import { chmodSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync, type SQLInputValue } from "node:sqlite";
import { Worker } from "node:worker_threads";
import { ConnectError } from "@cluster-connect/protocol";
import { CompiledQuery, type DatabaseConnection, type Dialect, type Driver, Kysely, SqliteDialect } from "kysely";
import type { Database } from "../schema.ts";
import { runSqliteThread, type ThreadAnswer, type ThreadData, type ThreadRequest } from "./sqlite-thread.ts";

/** How long a statement waits for a write of another process, such as the `enroll` command. */
const BUSY_TIMEOUT_MS = 5_000;

/**
 * Opens the SQLite file and makes it and its folder when they are not there. A thread of its own has it open: nothing
 * that passes bytes waits for the disk.
 *
 * Write-ahead log with full synchronisation: an acknowledged write survives a kill and a power cut.
 *
 * @throws ConnectError `CC_STORE_FAILED` naming the file and the reason.
 */
export function openSqlite(file: string): Kysely<Database> {
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    const database = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS });
    chmodSync(file, 0o600);
    database.exec("pragma journal_mode = wal");
    database.close();
    return new Kysely<Database>({ dialect: threadDialect({ file, busyTimeoutMs: BUSY_TIMEOUT_MS }) });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ConnectError("CC_STORE_FAILED", `The store ${file} cannot be opened: ${reason}`, { cause });
  }
}

/** SQLite's dialect with a driver that asks a thread. */
function threadDialect(data: ThreadData): Dialect {
  // Kysely asks for a database only when its own driver is used.
  const words = new SqliteDialect({ database: () => Promise.reject(new Error("the thread has the database")) });
  return {
    createAdapter: () => words.createAdapter(),
    createIntrospector: (db) => words.createIntrospector(db),
    createQueryCompiler: () => words.createQueryCompiler(),
    createDriver: () => threadDriver(data),
  };
}

/** One connection, which its users have one after the other. */
function threadDriver(data: ThreadData): Driver {
  const thread = startThread(data);
  const connection: DatabaseConnection = {
    async executeQuery({ sql, parameters }) {
      const answer = await thread.query(sql, parameters.map(parseParameter));
      // Kysely names the type of the rows; the schema says what they are.
      if (answer.kind === "rows") return { rows: answer.rows as never[] };
      return { rows: [], numAffectedRows: answer.changes, insertId: answer.insertId };
    },
    streamQuery: () => {
      throw new ConnectError("CC_INTERNAL", "The store's thread does not stream");
    },
  };
  const execute = async (sql: string): Promise<void> => {
    await connection.executeQuery(CompiledQuery.raw(sql));
  };
  let last: Promise<void> = Promise.resolve();
  let release: () => void = () => undefined;
  return {
    init: () => Promise.resolve(),
    async acquireConnection() {
      const before = last;
      const turn = Promise.withResolvers<void>();
      last = turn.promise;
      await before;
      release = turn.resolve;
      return connection;
    },
    releaseConnection: async () => release(),
    // A transaction takes the write lock at once: taken later it can fail without waiting.
    beginTransaction: () => execute("begin immediate"),
    commitTransaction: () => execute("commit"),
    // A failure such as a full disk ends the transaction by itself; that there is none any more would hide the failure.
    rollbackTransaction: () => execute("rollback").catch(() => undefined),
    destroy: () => thread.close(),
  };
}

function parseParameter(value: unknown): SQLInputValue {
  if (value === null || typeof value === "string" || typeof value === "number" || typeof value === "bigint") {
    return value;
  }
  if (value instanceof Uint8Array) return value;
  throw new TypeError(`A query parameter is ${typeof value}, which no column takes`);
}

/** An error of the thread with SQLite's number of it, which tells a full disk from a lock. */
function withNumber(error: unknown, errcode: number | undefined): unknown {
  return error instanceof Error && errcode !== undefined ? Object.assign(error, { errcode }) : error;
}

type QueryAnswer = Exclude<ThreadAnswer, { readonly kind: "failed" }>;

interface SqliteThread {
  /** @throws the error of SQLite, or ConnectError `CC_STORE_FAILED` once the thread has ended. */
  query(sql: string, parameters: readonly SQLInputValue[]): Promise<QueryAnswer>;
  close(): Promise<void>;
}

function startThread(data: ThreadData): SqliteThread {
  const worker = new Worker(`(${runSqliteThread.toString()})(require)`, { eval: true, workerData: data, execArgv: [] });
  const waiting = new Map<number, PromiseWithResolvers<QueryAnswer>>();
  let lastId = 0;
  let over: ConnectError | undefined;
  let closing = false;
  /** A store that nobody asks keeps no process alive; one that is closed does until its file is. */
  const settle = (id: number, settled: (entry: PromiseWithResolvers<QueryAnswer>) => void): void => {
    const entry = waiting.get(id);
    waiting.delete(id);
    if (waiting.size === 0 && !closing) worker.unref();
    if (entry !== undefined) settled(entry);
  };
  const end = (cause: unknown): void => {
    over ??= new ConnectError("CC_STORE_FAILED", `The store ${data.file} is not open any more`, { cause });
    const reason = over;
    for (const id of [...waiting.keys()]) settle(id, ({ reject }) => reject(reason));
  };
  worker.on("message", (answer: ThreadAnswer) => {
    if (answer.kind === "failed") settle(answer.id, ({ reject }) => reject(withNumber(answer.error, answer.errcode)));
    else settle(answer.id, ({ resolve }) => resolve(answer));
  });
  worker.on("error", end);
  worker.on("exit", () => end(undefined));
  worker.unref();

  function ask(request: ThreadRequest): Promise<QueryAnswer> {
    if (over !== undefined) return Promise.reject(over);
    worker.postMessage(request);
    const entry = Promise.withResolvers<QueryAnswer>();
    waiting.set(request.id, entry);
    worker.ref();
    return entry.promise;
  }

  return {
    query: async (sql, parameters) => await ask({ kind: "query", id: ++lastId, sql, parameters }),
    async close() {
      if (over !== undefined) return;
      closing = true;
      const gone = new Promise<void>((resolve) => void worker.once("exit", () => resolve()));
      worker.ref();
      await ask({ kind: "close", id: ++lastId }).catch(() => undefined);
      await gone;
    },
  };
}
