import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { ConnectError } from "@cluster-connect/protocol";
import { writeFileAtomic } from "@cluster-connect/service";
import type { PodAccount } from "./account.ts";
import { readSecret, writeSecret } from "./api.ts";

/** What a cluster keeps between pods: the agent's key and enrollment, and the auth proxy's authority. */
export const KEPT_FILES = ["agent-key.pem", "enrolled.json", "authority.pem"] as const;

export interface SecretFolder {
  readonly secret: string;
  readonly folder: string;
}

/**
 * Writes the files that the Secret holds by now into a folder; those it does not hold are not made.
 *
 * @returns their names.
 * @throws ConnectError `CC_PERMISSION_MISSING`, `CC_APISERVER_UNREACHABLE` or `CC_FILE_UNREADABLE`.
 */
export async function secretToFolder(
  { secret, folder }: SecretFolder,
  account: PodAccount,
  options: { readonly signal: AbortSignal },
): Promise<readonly string[]> {
  const { files } = await readSecret(secret, account, options);
  const written: string[] = [];
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    for (const name of KEPT_FILES) {
      const content = files.get(name);
      if (content === undefined) continue;
      await writeFileAtomic(join(folder, name), content, { mode: 0o600 });
      written.push(name);
    }
  } catch (cause) {
    throw new ConnectError("CC_FILE_UNREADABLE", `${folder} cannot be written`, { cause });
  }
  return written;
}

/**
 * Writes a folder's files into the Secret, all of them in one step, unless they are what it holds already.
 *
 * @returns the names of those that are new.
 * @throws ConnectError `CC_FILE_MISSING` when one is not there, else as {@link secretToFolder}.
 */
export async function folderToSecret(
  { secret, folder }: SecretFolder,
  account: PodAccount,
  options: { readonly signal: AbortSignal },
): Promise<readonly string[]> {
  const { files: held } = await readSecret(secret, account, options);
  const changed = new Map<string, Buffer>();
  for (const name of KEPT_FILES) {
    const content = await readFile(join(folder, name)).catch((cause: unknown) => {
      throw new ConnectError("CC_FILE_MISSING", `${join(folder, name)} is not there, so nothing is kept`, { cause });
    });
    if (held.get(name)?.equals(content) !== true) changed.set(name, content);
  }
  if (changed.size > 0) await writeSecret(secret, changed, account, options);
  return [...changed.keys()];
}
