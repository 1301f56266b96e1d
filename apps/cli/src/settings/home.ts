import { randomUUID } from "node:crypto";
import { accessSync, constants, existsSync, lstatSync, mkdirSync, mkdtempSync } from "node:fs";
import { isAbsolute, join } from "node:path";

/** Where this user's files are. */
export interface Home {
  readonly path: string;
  /** There is no home folder, or none that anything can be kept in: this one is temporary. */
  readonly isStandIn: boolean;
}

export interface HomeDeps {
  /** Throws where the system knows of none, as for a user without an entry in passwd. */
  readonly homedir: () => string;
  readonly tmpdir: () => string;
  /** Undefined where the system has no such numbers. */
  readonly uid: number | undefined;
}

/** Finds the home folder; a container's user often has none, or `/`. */
export function findHome(deps: HomeDeps): Home {
  const path = namedHome(deps);
  return path === undefined ? { path: standIn(deps), isStandIn: true } : { path, isStandIn: false };
}

function namedHome({ homedir }: HomeDeps): string | undefined {
  try {
    const path = homedir();
    if (!isAbsolute(path)) return undefined;
    // Files that a volume or an image put there are used, also where nothing can be added.
    return isWritable(path) || existsSync(join(path, ".config", "cluster-connect")) ? path : undefined;
  } catch {
    return undefined;
  }
}

/** Also true for a home that is not there yet, but can be made. */
function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch (error) {
    const isMissing = error instanceof Error && "code" in error && error.code === "ENOENT";
    const above = join(path, "..");
    return isMissing && above !== path && isWritable(above);
  }
}

/** The same folder each time, unless another user made it: that user could have put anything there. */
function standIn({ tmpdir, uid }: HomeDeps): string {
  const path = join(tmpdir(), `cluster-connect-home-${uid ?? "user"}`);
  try {
    mkdirSync(path, { mode: 0o700 });
    return path;
  } catch {
    return isOwn(path, uid) ? path : folderBeside(path);
  }
}

/** Commands that keep nothing also run where nothing can be written; the others name this folder in their error. */
function folderBeside(path: string): string {
  try {
    return mkdtempSync(`${path}-`);
  } catch {
    return `${path}-${randomUUID()}`;
  }
}

function isOwn(path: string, uid: number | undefined): boolean {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined || !found.isDirectory()) return false;
  return uid === undefined || (found.uid === uid && (found.mode & 0o077) === 0);
}
