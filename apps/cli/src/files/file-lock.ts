import { link, open, readFile, rm, stat, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { formatProcessId, identifyProcess, mayBeAlive, parseProcessId } from "./process-id.ts";
import { fileError, systemCode } from "./system-error.ts";
import { sweepTemporaries, temporaryPath } from "./temporary.ts";

export interface FileLockOptions {
  readonly signal: AbortSignal;
  /** How long to wait for another holder, milliseconds. */
  readonly waitMs: number;
}

/** Who holds a lock that could not be had. */
export interface LockHolder {
  /** A process of this tool; undefined for another program, whose lock is never taken over. */
  readonly pid: number | undefined;
  readonly ageMs: number;
}

const MARK = "cluster-connect ";
const TAKEOVER_MAX_AGE_MS = 10_000;

/**
 * Runs `work` while the lock file exists; it is created in one step, so that one process has it at a time. A lock of
 * this tool whose process is gone is taken over; one of another program is waited for only.
 *
 * @param tooLate makes the error when the wait is over.
 */
export async function withFileLock<T>(
  path: string,
  options: FileLockOptions,
  tooLate: (holder: LockHolder) => Error,
  work: () => Promise<T>,
): Promise<T> {
  const until = performance.now() + options.waitMs;
  while (!(await tryLock(path))) {
    if (await takeOver(path)) continue;
    if (performance.now() >= until) throw tooLate(await holderOf(path));
    await delay(15 + Math.random() * 30, undefined, { signal: options.signal });
  }
  try {
    await sweepTemporaries(dirname(path));
    return await work();
  } finally {
    await rm(path, { force: true });
  }
}

/** A hard link makes the lock appear with its content, so that no lock is ever without an owner. */
async function tryLock(path: string): Promise<boolean> {
  const temporary = temporaryPath(dirname(path));
  try {
    await writeFile(temporary, `${MARK}${formatProcessId(identifyProcess(process.pid))}\n`, {
      mode: 0o600,
      flag: "wx",
    });
    await link(temporary, path);
    return true;
  } catch (cause) {
    if (systemCode(cause) === "EEXIST") return false;
    throw fileError(path, "created", cause);
  } finally {
    await rm(temporary, { force: true });
  }
}

/** Removes a lock of ours that nobody holds; under a second lock, so that a new one is never removed instead. */
async function takeOver(path: string): Promise<boolean> {
  if (!(await isAbandoned(path))) return false;
  const takeover = `${path}.takeover`;
  try {
    await (await open(takeover, "wx", 0o600)).close();
  } catch (cause) {
    if (systemCode(cause) !== "EEXIST") throw fileError(takeover, "created", cause);
    if ((await ageOf(takeover)) > TAKEOVER_MAX_AGE_MS) await rm(takeover, { force: true });
    return false;
  }
  try {
    if (!(await isAbandoned(path))) return true;
    await rm(path, { force: true });
    return true;
  } finally {
    await rm(takeover, { force: true });
  }
}

async function isAbandoned(path: string): Promise<boolean> {
  const owner = await ownerOf(path);
  return owner !== undefined && !mayBeAlive(owner);
}

async function ownerOf(path: string): Promise<ReturnType<typeof parseProcessId>> {
  const text = await readFile(path, "utf8").catch(() => "");
  return text.startsWith(MARK) ? parseProcessId(text.slice(MARK.length).trimEnd()) : undefined;
}

async function holderOf(path: string): Promise<LockHolder> {
  return { pid: (await ownerOf(path))?.pid, ageMs: await ageOf(path) };
}

async function ageOf(path: string): Promise<number> {
  const found = await stat(path).catch(() => undefined);
  return found === undefined ? 0 : Math.max(0, Date.now() - found.mtimeMs);
}
