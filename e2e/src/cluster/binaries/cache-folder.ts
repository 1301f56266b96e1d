import { randomUUID } from "node:crypto";
import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { type LockOptions, withLock } from "../lock.ts";

const MAKING = ".making-";

/** `$XDG_CACHE_HOME/cluster-connect`, by default below the home directory. */
export function cacheRoot(env: NodeJS.ProcessEnv): string {
  const base = env["XDG_CACHE_HOME"] || join(env["HOME"] || "/", ".cache");
  return join(base, "cluster-connect");
}

/**
 * Fills `parent/name` once on this machine, however many processes ask at the same time.
 *
 * The folder appears by a rename when `fill` has succeeded: where it exists, it is complete.
 *
 * @param isComplete looks again after the lock was taken, since another process may have filled it meanwhile.
 */
export async function fillOnce(
  parent: string,
  name: string,
  options: LockOptions,
  deps: { readonly isComplete: () => Promise<boolean>; readonly fill: (folder: string) => Promise<void> },
): Promise<string> {
  const target = join(parent, name);
  await mkdir(parent, { recursive: true });
  await withLock(join(parent, `.lock-${name}`), options, async () => {
    if (await deps.isComplete()) return;
    const prefix = `${MAKING}${name}-`;
    // Holding the lock, any other temporary folder of this name belongs to a process that was killed.
    for (const entry of await readdir(parent)) {
      if (entry.startsWith(prefix)) await rm(join(parent, entry), { recursive: true, force: true });
    }
    const folder = join(parent, `${prefix}${randomUUID()}`);
    await mkdir(folder);
    try {
      await deps.fill(folder);
      await rm(target, { recursive: true, force: true });
      await rename(folder, target);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
  return target;
}
