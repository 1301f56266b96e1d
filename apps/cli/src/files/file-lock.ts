import { link, open, readFile, rm, stat, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { systemCode } from "@cluster-connect/base";
import { fileError } from "./file-error.ts";
import { formatProcessId, identifyProcess, livenessOf, type ProcessId, parseProcessId } from "./process-id.ts";
import { sweepTemporaries, temporaryPath } from "./temporary.ts";

export interface FileLockOptions {
  readonly signal: AbortSignal;
  /** How long to wait for another holder, milliseconds. */
  readonly waitMs: number;
}

/** The holder of a lock that could not be had. */
export interface LockHolder {
  /** A process of this tool; undefined for another program, whose lock is never taken over. */
  readonly pid: number | undefined;
  /** The process is one of another machine or container: whether it runs cannot be told here. */
  readonly isElsewhere: boolean;
  readonly ageMs: number;
}

export interface FileLockDeps {
  /** Makes a hard link, where the file system has them. */
  readonly link: typeof link;
}

const MARK = "cluster-connect ";
const TAKEOVER_MAX_AGE_MS = 10_000;
const SYSTEM: FileLockDeps = { link };
/** exFAT, FAT, SMB and folders that a virtual machine shares answer so to a hard link; which one depends on the system. */
const NO_HARD_LINKS: ReadonlySet<string> = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EINVAL", "EMLINK"]);

/**
 * Runs `work` while the lock file exists. The file is created in one step, so that one process has it at a time. A lock
 * of this tool whose process is gone is taken over; one of another program is waited for only.
 *
 * @param tooLate makes the error when the wait is over.
 */
export async function withFileLock<T>(
  path: string,
  options: FileLockOptions,
  tooLate: (holder: LockHolder) => Error,
  work: () => Promise<T>,
  deps: FileLockDeps = SYSTEM,
): Promise<T> {
  const until = performance.now() + options.waitMs;
  while (!(await tryLock(path, deps))) {
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
async function tryLock(path: string, deps: FileLockDeps): Promise<boolean> {
  const temporary = temporaryPath(dirname(path));
  const owner = `${MARK}${formatProcessId(identifyProcess(process.pid))}\n`;
  try {
    await writeFile(temporary, owner, { mode: 0o600, flag: "wx" });
    await deps.link(temporary, path);
    return true;
  } catch (cause) {
    if (systemCode(cause) === "EEXIST") return false;
    if (NO_HARD_LINKS.has(systemCode(cause))) return await createLock(path, owner);
    throw fileError(path, "created", cause);
  } finally {
    await rm(temporary, { force: true });
  }
}

/** Without hard links: also in one step, but the lock has no owner for a moment and counts as another program's then. */
async function createLock(path: string, owner: string): Promise<boolean> {
  try {
    await writeFile(path, owner, { mode: 0o600, flag: "wx" });
    return true;
  } catch (cause) {
    if (systemCode(cause) === "EEXIST") return false;
    throw fileError(path, "created", cause);
  }
}

/** Removes a lock of ours that has no holder, under a second lock: a new one is never removed instead. */
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
  return owner !== undefined && livenessOf(owner) === "gone";
}

async function ownerOf(path: string): Promise<ProcessId | undefined> {
  const text = await readFile(path, "utf8").catch(() => "");
  return text.startsWith(MARK) ? parseProcessId(text.slice(MARK.length).trimEnd()) : undefined;
}

async function holderOf(path: string): Promise<LockHolder> {
  const owner = await ownerOf(path);
  const isElsewhere = owner !== undefined && livenessOf(owner) === "unknown";
  return { pid: owner?.pid, isElsewhere, ageMs: await ageOf(path) };
}

/** The holder of a lock, as messages say it. */
export function describeHolder({ pid, isElsewhere }: LockHolder): string {
  if (pid === undefined) return "another program";
  return isElsewhere ? `process ${pid} of another machine or container` : `process ${pid}`;
}

async function ageOf(path: string): Promise<number> {
  const found = await stat(path).catch(() => undefined);
  return found === undefined ? 0 : Math.max(0, Date.now() - found.mtimeMs);
}
