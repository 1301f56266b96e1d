import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { ConnectError } from "@cluster-connect/protocol";
import { writeFileAtomic } from "@cluster-connect/service";
import type { PodAccount } from "./account.ts";
import { readSecret, writeSecret } from "./api.ts";

/** Files that a cluster keeps between pods: the agent's key and enrollment, and the auth proxy's authority. */
export const KEPT_FILES = ["agent-key.pem", "enrolled.json", "authority.pem"] as const;

const AUTHORITY_FILE = "authority.pem";

export interface SecretFolder {
  readonly secret: string;
  readonly folder: string;
  /** Where the authority is instead, so that whoever sees one key does not see the other. */
  readonly authorityFolder?: string;
}

const folderOf = (name: string, { folder, authorityFolder = folder }: SecretFolder): string =>
  name === AUTHORITY_FILE ? authorityFolder : folder;

/**
 * Writes the files that the Secret holds by now into a folder; those it does not hold are not made.
 *
 * @returns their names.
 * @throws ConnectError `CC_PERMISSION_MISSING`, `CC_APISERVER_UNREACHABLE` or `CC_FILE_UNREADABLE`.
 */
export async function secretToFolder(
  place: SecretFolder,
  account: PodAccount,
  options: { readonly signal: AbortSignal },
): Promise<readonly string[]> {
  const { files } = await readSecret(place.secret, account, options);
  const written: string[] = [];
  for (const name of KEPT_FILES) {
    const folder = folderOf(name, place);
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      const content = files.get(name);
      if (content === undefined) continue;
      await writeFileAtomic(join(folder, name), content, { mode: 0o600 });
      written.push(name);
    } catch (cause) {
      throw new ConnectError("CC_FILE_UNREADABLE", `${folder} cannot be written`, { cause });
    }
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
  place: SecretFolder,
  account: PodAccount,
  options: { readonly signal: AbortSignal },
): Promise<readonly string[]> {
  const { files: held } = await readSecret(place.secret, account, options);
  const changed = new Map<string, Buffer>();
  for (const name of KEPT_FILES) {
    const file = join(folderOf(name, place), name);
    const content = await readFile(file).catch((cause: unknown) => {
      throw new ConnectError("CC_FILE_MISSING", `${file} is not there, so nothing is kept`, { cause });
    });
    if (held.get(name)?.equals(content) !== true) changed.set(name, content);
  }
  if (changed.size > 0) await writeSecret(place.secret, changed, account, options);
  return [...changed.keys()];
}
