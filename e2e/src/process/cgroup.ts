import { readdir, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { systemCode } from "@cluster-connect/base";

const ATTEMPTS = 100;
const LOOK_EVERY_MS = 20;

async function removeTree(path: string): Promise<void> {
  // The files in it cannot be deleted and need not be: only the folders are.
  for (const entry of await readdir(path, { withFileTypes: true })) {
    if (entry.isDirectory()) await removeTree(join(path, entry.name));
  }
  await rmdir(path);
}

const isGone = (error: unknown, path: string): boolean =>
  error instanceof Error && systemCode(error) === "ENOENT" && "path" in error && error.path === path;

const isBusy = (error: unknown): boolean => systemCode(error) === "EBUSY";

/**
 * Removes a control group and those in it; nothing happens when there is none.
 *
 * The kernel refuses while a process is in it. A killed process is in it until it is reaped, so this tries for two
 * seconds.
 */
export async function removeCgroup(path: string): Promise<void> {
  for (let left = ATTEMPTS; ; left--) {
    try {
      return await removeTree(path);
    } catch (error) {
      if (isGone(error, path)) return;
      if (!isBusy(error) || left === 1) throw error;
    }
    await delay(LOOK_EVERY_MS);
  }
}
