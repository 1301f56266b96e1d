import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as delay } from "node:timers/promises";

/** How to wait for a lock. */
export interface LockOptions {
  readonly signal: AbortSignal;
  /** Called once when another process holds it. */
  readonly onWait?: () => void;
}

const LOOK_EVERY_MS = 200;
const SQLITE_BUSY = 5;

function isBusy(error: unknown): boolean {
  return error instanceof Error && "errcode" in error && error.errcode === SQLITE_BUSY;
}

/** Takes the lock if it is free. The database is empty: only the operating system's lock on the file counts. */
function tryLock(path: string): DatabaseSync | undefined {
  const database = new DatabaseSync(path, { timeout: 0 });
  try {
    database.exec("BEGIN EXCLUSIVE");
    return database;
  } catch (error) {
    database.close();
    if (isBusy(error)) return undefined;
    throw error;
  }
}

/**
 * Runs `work` while no other process holds the lock at `path`.
 *
 * The operating system keeps the lock and drops it with the process, so a killed owner never blocks anyone.
 */
export async function withLock<T>(path: string, options: LockOptions, work: () => Promise<T>): Promise<T> {
  await mkdir(dirname(path), { recursive: true });
  let lock = tryLock(path);
  if (lock === undefined) options.onWait?.();
  while (lock === undefined) {
    await delay(LOOK_EVERY_MS, undefined, { signal: options.signal });
    lock = tryLock(path);
  }
  try {
    return await work();
  } finally {
    lock.close();
  }
}
