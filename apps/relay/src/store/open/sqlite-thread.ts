import type { SQLInputValue } from "node:sqlite";
import type { MessagePort } from "node:worker_threads";

/** A statement for the thread, or its end. */
export type ThreadRequest =
  | { readonly kind: "query"; readonly id: number; readonly sql: string; readonly parameters: readonly SQLInputValue[] }
  | { readonly kind: "close"; readonly id: number };

/** The thread's answer to a request with the same id. */
export type ThreadAnswer =
  | { readonly id: number; readonly kind: "rows"; readonly rows: readonly unknown[] }
  | { readonly id: number; readonly kind: "changes"; readonly changes: bigint; readonly insertId: bigint }
  /** A message between threads keeps of an error its words alone, so its number in SQLite is beside it. */
  | { readonly id: number; readonly kind: "failed"; readonly error: unknown; readonly errcode: number | undefined };

/** Data that the thread begins with. */
export interface ThreadData {
  readonly file: string;
  /** How long a statement waits for a write of another process, milliseconds. */
  readonly busyTimeoutMs: number;
}

/**
 * The body of the thread that has the SQLite file open: a slow disk, or a lock of another process, stops this thread
 * and none that passes bytes. Its text is what the thread runs, so it uses nothing from around it.
 */
export function runSqliteThread(require: NodeJS.Require): void {
  const { DatabaseSync } = require("node:sqlite") as typeof import("node:sqlite");
  const { parentPort, workerData } = require("node:worker_threads") as typeof import("node:worker_threads");
  const { file, busyTimeoutMs } = workerData as ThreadData;
  const port = parentPort as MessagePort;
  const database = new DatabaseSync(file, { timeout: busyTimeoutMs, enableForeignKeyConstraints: true });
  database.exec("pragma synchronous = full");

  function answer(request: ThreadRequest): ThreadAnswer {
    const { id } = request;
    if (request.kind === "close") {
      database.close();
      return { id, kind: "rows", rows: [] };
    }
    const { sql, parameters } = request;
    const statement = database.prepare(sql);
    if (statement.columns().length > 0) return { id, kind: "rows", rows: statement.all(...parameters) };
    const { changes, lastInsertRowid } = statement.run(...parameters);
    return { id, kind: "changes", changes: BigInt(changes), insertId: BigInt(lastInsertRowid) };
  }

  port.on("message", (request: ThreadRequest) => {
    try {
      port.postMessage(answer(request));
    } catch (error) {
      const errcode = error instanceof Error && "errcode" in error ? error.errcode : undefined;
      port.postMessage({ id: request.id, kind: "failed", error, errcode });
    }
    if (request.kind === "close") port.close();
  });
}
