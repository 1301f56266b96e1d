import { mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { fileError } from "./system-error.ts";
import { temporaryPath } from "./temporary.ts";

/**
 * Replaces a file in one step: whoever reads it sees the old or the new content, whole. Only this user can read it.
 *
 * @throws ConnectError `CC_FILE_UNREADABLE` naming the file.
 */
export async function writePrivateFile(path: string, content: string | Uint8Array): Promise<void> {
  const folder = dirname(path);
  await makePrivateFolder(folder);
  const temporary = temporaryPath(folder);
  try {
    const handle = await open(temporary, "wx", 0o600);
    try {
      await handle.writeFile(content);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true });
    throw fileError(path, "written", cause);
  }
}

/** Makes a folder that only this user can enter, and the ones above it, where they are missing. */
export async function makePrivateFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw fileError(path, "created", cause);
  }
}
