import type { Stats } from "node:fs";
import { chmod, chown, type FileHandle, mkdir, open, realpath, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { systemCode } from "@cluster-connect/base";
import { fileError } from "./file-error.ts";
import { temporaryPath } from "./temporary.ts";

export interface WriteOptions {
  /** Leaves the permissions of a file that is there as they are; else only its owner can read it. */
  readonly keepMode?: boolean;
}

export interface PrivateFileDeps {
  readonly rename: typeof rename;
  readonly chown: typeof chown;
  /** Of this process; undefined where the system has no such numbers. */
  readonly uid: number | undefined;
}

const SYSTEM: PrivateFileDeps = { rename, chown, uid: process.getuid?.() };
const PRIVATE = 0o600;
/** A file that is a mount of its own, or in a folder that takes no new files, cannot be replaced, but written. */
const IRREPLACEABLE: ReadonlySet<string> = new Set([
  "EBUSY",
  "EXDEV",
  "EPERM",
  "EACCES",
  "EROFS",
  "ENOTSUP",
  "EOPNOTSUPP",
]);

/**
 * Replaces a file in one step: a reader sees the old or the new content, whole. Links to it and its owner stay.
 *
 * A file is written in place, as kubectl does, when it has further hard links or is a mount of its own. So is a file of
 * a user this process cannot give files to.
 *
 * @throws ConnectError `CC_FILE_UNREADABLE` naming the file.
 */
export async function writePrivateFile(
  path: string,
  content: string | Uint8Array,
  options: WriteOptions = {},
  deps: PrivateFileDeps = SYSTEM,
): Promise<void> {
  await makePrivateFolder(dirname(path), deps);
  try {
    const target = await realpath(path).catch(() => path);
    const before = await stat(target).catch(() => undefined);
    const mode = before !== undefined && options.keepMode === true ? before.mode & 0o7777 : PRIVATE;
    const canReplace = before === undefined || before.nlink === 1;
    if (canReplace && (await replaceFile(target, content, before, mode, deps))) return;
    await writeInPlace(target, content);
    if (options.keepMode !== true) await chmod(target, mode).catch(() => {});
  } catch (cause) {
    throw fileError(path, "written", cause);
  }
}

/** @returns false when the file cannot be replaced as it is; then it was left alone. */
async function replaceFile(
  path: string,
  content: string | Uint8Array,
  before: Stats | undefined,
  mode: number,
  deps: PrivateFileDeps,
): Promise<boolean> {
  const folder = dirname(path);
  const temporary = temporaryPath(folder);
  try {
    const handle = await open(temporary, "wx", PRIVATE);
    try {
      await handle.writeFile(content);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await giveTo(temporary, before ?? (await ownerOfFolder(folder, deps)), deps);
    await chmod(temporary, mode);
    await deps.rename(temporary, path);
    return true;
  } catch (cause) {
    await rm(temporary, { force: true });
    if (before !== undefined && IRREPLACEABLE.has(systemCode(cause))) return false;
    throw cause;
  }
}

/** Should it fail half-way, the old content comes back. */
async function writeInPlace(path: string, content: string | Uint8Array): Promise<void> {
  const handle = await open(path, "r+");
  try {
    const old = await handle.readFile();
    try {
      await overwrite(handle, Buffer.from(content));
    } catch (error) {
      await overwrite(handle, old).catch(() => {});
      throw error;
    }
  } finally {
    await handle.close();
  }
}

async function overwrite(handle: FileHandle, content: Uint8Array): Promise<void> {
  for (let at = 0; at < content.length; ) at += (await handle.write(content, at, undefined, at)).bytesWritten;
  await handle.truncate(content.length);
  await handle.sync();
}

async function giveTo(
  path: string,
  owner: Pick<Stats, "uid" | "gid"> | undefined,
  deps: PrivateFileDeps,
): Promise<void> {
  const own = await stat(path);
  if (owner === undefined || (owner.uid === own.uid && owner.gid === own.gid)) return;
  await deps.chown(path, owner.uid, owner.gid);
}

/** Files that root makes in a person's folder, as with sudo, become the person's: else they could not be used later. */
async function ownerOfFolder(folder: string, { uid }: PrivateFileDeps): Promise<Stats | undefined> {
  return uid === 0 ? await stat(folder) : undefined;
}

/** Makes a folder that only its owner can enter, and the ones above it, where they are missing. */
export async function makePrivateFolder(path: string, deps: PrivateFileDeps = SYSTEM): Promise<void> {
  try {
    const first = await mkdir(path, { recursive: true, mode: 0o700 });
    if (first === undefined) return;
    const owner = await ownerOfFolder(dirname(first), deps);
    for (let made = path; owner !== undefined && owner.uid !== 0; made = dirname(made)) {
      await deps.chown(made, owner.uid, owner.gid);
      if (made === first || made === dirname(made)) break;
    }
  } catch (cause) {
    throw fileError(path, "created", cause);
  }
}

/**
 * Finds out whether {@link writePrivateFile} will work, and leaves everything as it was.
 *
 * @throws ConnectError `CC_FILE_UNREADABLE` naming the file and the reason.
 */
export async function checkWritable(path: string): Promise<void> {
  const target = await realpath(path).catch(() => path);
  try {
    await (await open(target, "r+")).close();
  } catch (cause) {
    if (systemCode(cause) !== "ENOENT") throw fileError(path, "written", cause);
  }
  await checkFolder(dirname(target), path);
}

/** A lock has to be made beside the file; in a folder that is missing, the nearest one above it counts. */
async function checkFolder(folder: string, path: string): Promise<void> {
  const temporary = temporaryPath(folder);
  try {
    await (await open(temporary, "wx", PRIVATE)).close();
  } catch (cause) {
    const above = dirname(folder);
    if (systemCode(cause) === "ENOENT" && above !== folder) return await checkFolder(above, path);
    throw fileError(path, "written", cause);
  } finally {
    await rm(temporary, { force: true }).catch(() => {});
  }
}
