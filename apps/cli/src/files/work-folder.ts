import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { fileError } from "./file-error.ts";
import { makePrivateFolder, writePrivateFile } from "./private-file.ts";
import { formatProcessId, identifyProcess, livenessOf, parseProcessId } from "./process-id.ts";
import { readTextFileIfAny } from "./text-file.ts";

const OWNER = "process";

/** Makes a folder for this process alone; it tells whose it is, so that a later process can remove it. */
export async function createWorkFolder(parent: string, prefix: string, pid: number): Promise<string> {
  await makePrivateFolder(parent);
  let folder: string;
  try {
    folder = await mkdtemp(join(parent, prefix));
  } catch (cause) {
    throw fileError(join(parent, prefix), "created", cause);
  }
  await writePrivateFile(join(folder, OWNER), `${formatProcessId(identifyProcess(pid))}\n`);
  return folder;
}

/**
 * Removes the folders of processes that were killed.
 *
 * @param isWanted keeps a folder whose process is gone for a caller that knows more about it.
 */
export async function sweepWorkFolders(
  parent: string,
  prefix: string,
  isWanted: (folder: string) => Promise<boolean> = async () => false,
): Promise<void> {
  const uid = process.getuid?.();
  for (const name of await readdir(parent).catch(() => [])) {
    if (!name.startsWith(prefix)) continue;
    const folder = join(parent, name);
    const found = await stat(folder).catch(() => undefined);
    // In a shared folder others may put anything; only what is this user's own is looked at.
    if (found === undefined || !found.isDirectory() || (uid !== undefined && found.uid !== uid)) continue;
    const owner = parseProcessId(((await readTextFileIfAny(join(folder, OWNER)).catch(() => "")) ?? "").trimEnd());
    if (owner === undefined || livenessOf(owner) !== "gone" || (await isWanted(folder))) continue;
    await rm(folder, { recursive: true, force: true });
  }
}
