import { join } from "node:path";
import { type ClusterId, ConnectError, parseClusterId } from "@cluster-connect/protocol";
import { z } from "zod";
import { withFileLock } from "../files/file-lock.ts";
import { makePrivateFolder, writePrivateFile } from "../files/private-file.ts";
import { readTextFileIfAny } from "../files/text-file.ts";
import { parseJson } from "../json.ts";
import type { Folders } from "../settings/folders.ts";
import type { KubeconfigEntry } from "./entry.ts";
import { ENTRY } from "./entry-schema.ts";

/** An entry that stays in a kubeconfig, and needs no proxy that runs: its credential starts one. */
export interface KeptEntry {
  readonly kubeconfig: string;
  readonly relay: string;
  readonly cluster: ClusterId;
  readonly entry: KubeconfigEntry;
  /** The current context before it was added; null when the file did not say. */
  readonly former: string | null;
}

const LOCK_WAIT_MS = 10_000;
const NAME = "kubeconfig-entries.json";

const KEPT: z.ZodType<readonly KeptEntry[]> = z.array(
  z.object({
    kubeconfig: z.string(),
    relay: z.string(),
    cluster: z.string().transform((id) => parseClusterId(id)),
    entry: ENTRY,
    former: z.string().nullable(),
  }),
);

/**
 * Reads which entries `kubeconfig add` has made.
 *
 * @throws ConnectError `CC_FILE_UNREADABLE` naming the file.
 */
export async function readKeptEntries(folders: Pick<Folders, "state">): Promise<readonly KeptEntry[]> {
  const path = join(folders.state, NAME);
  const text = await readTextFileIfAny(path);
  if (text === undefined) return [];
  const parsed = KEPT.safeParse(parseJson(text));
  if (parsed.success) return parsed.data;
  throw new ConnectError("CC_FILE_UNREADABLE", `${path} is not a list of kubeconfig entries`, {
    hint: "Move it away, then add the entries again with `cluster-connect kubeconfig add`.",
  });
}

/** Changes the list while no other process does; the new list is written before `after` runs, still under the lock. */
export async function changeKeptEntries(
  folders: Pick<Folders, "state">,
  options: { readonly signal: AbortSignal },
  change: (kept: readonly KeptEntry[]) => Promise<readonly KeptEntry[]>,
  after: () => Promise<void>,
): Promise<void> {
  const path = join(folders.state, NAME);
  await makePrivateFolder(folders.state);
  await withFileLock(
    `${path}.lock`,
    { ...options, waitMs: LOCK_WAIT_MS },
    () => lockedEntries(path),
    async () => {
      const kept = await change(await readKeptEntries(folders));
      await writePrivateFile(path, `${JSON.stringify(kept, undefined, 1)}\n`);
      await after();
    },
  );
}

function lockedEntries(path: string): ConnectError {
  return new ConnectError("CC_FILE_UNREADABLE", `${path} is being changed by another process for too long`, {
    hint: `Repeat the command; remove ${path}.lock if no process holds it.`,
  });
}
