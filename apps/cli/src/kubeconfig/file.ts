import { lstat, realpath, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { systemCode } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import { describeHolder, type LockHolder, withFileLock } from "../files/file-lock.ts";
import { checkWritable, makePrivateFolder, writePrivateFile } from "../files/private-file.ts";
import { type EncodedText, encodeText, readEncodedFileIfAny, readTextFileIfAny } from "../files/text-file.ts";
import { foreignContext, type KubeconfigDocument, parseKubeconfig } from "./document.ts";

export interface KubeconfigOptions {
  readonly signal: AbortSignal;
  /** How long to wait while kubectl, or another of ours, changes the file. */
  readonly waitMs?: number;
  /** Removes the file when no entry is left in it: for one that was not there before. */
  readonly removeEmpty?: boolean;
}

const LOCK_WAIT_MS = 10_000;
const NO_TEXT: EncodedText = { text: "", encoding: "utf-8" };

/**
 * Changes a kubeconfig under kubectl's own lock, `<file>.lock`: in one step, through symbolic links. A new file is
 * readable by its owner only, one that is there keeps owner and permissions. Nothing is written when nothing was changed.
 *
 * @returns what `change` returns.
 * @throws ConnectError `CC_KUBECONFIG_INVALID`, `CC_KUBECONFIG_LOCKED`, `CC_FILE_UNREADABLE`; the file is then as it was.
 */
export async function changeKubeconfig<T>(
  path: string,
  options: KubeconfigOptions,
  change: (document: KubeconfigDocument) => T | Promise<T>,
): Promise<T> {
  await makePrivateFolder(dirname(path));
  const target = await targetOf(path);
  const edit = async (): Promise<T> => {
    const { text, encoding } = (await readEncodedFileIfAny(target)) ?? NO_TEXT;
    const document = parseKubeconfig(text, path);
    const result = await change(document);
    if (!document.changed) return result;
    if (options.removeEmpty === true && document.isEmpty) await rm(target, { force: true });
    else await writePrivateFile(target, encodeText({ text: document.toString(), encoding }), { keepMode: true });
    return result;
  };
  const lock = async (file: string, work: () => Promise<T>): Promise<T> =>
    await withFileLock(
      `${file}.lock`,
      { signal: options.signal, waitMs: options.waitMs ?? LOCK_WAIT_MS },
      (holder) => lockedKubeconfig(path, `${file}.lock`, holder),
      work,
    );
  // kubectl locks the name it was given, which may be a link. Two names of one file must not be changed at once either.
  return await lock(path, async () => (target === path ? await edit() : await lock(target, edit)));
}

/**
 * Finds out whether a kubeconfig can be changed later, and takes these contexts.
 *
 * @returns false when there is none yet.
 * @throws ConnectError `CC_KUBECONFIG_INVALID` or `CC_FILE_UNREADABLE`.
 */
export async function checkKubeconfig(path: string, contexts: readonly string[] = []): Promise<boolean> {
  const document = await readKubeconfig(path);
  for (const context of contexts) {
    if (document?.hasForeignContext(context) === true) throw foreignContext(path, context);
  }
  await checkWritable(path);
  return document !== undefined;
}

/** The kubeconfig as it is now; undefined when there is none. @throws ConnectError as {@link checkKubeconfig}. */
export async function readKubeconfig(path: string): Promise<KubeconfigDocument | undefined> {
  const text = await readTextFileIfAny(await targetOf(path));
  return text === undefined ? undefined : parseKubeconfig(text, path);
}

async function targetOf(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (cause) {
    const isLink = await lstat(path).then(
      (found) => found.isSymbolicLink(),
      () => false,
    );
    if (systemCode(cause) === "ENOENT" && !isLink) return path;
    throw new ConnectError("CC_FILE_UNREADABLE", `${path} cannot be read: its links lead nowhere`, { cause });
  }
}

function lockedKubeconfig(path: string, lock: string, holder: LockHolder): ConnectError {
  const who = describeHolder(holder);
  const ageSeconds = Math.round(holder.ageMs / 1_000);
  return new ConnectError("CC_KUBECONFIG_LOCKED", `${path} is locked by ${who} for ${ageSeconds} s: ${lock}`, {
    hint: `Wait for the other kubectl; if none runs, it was killed: remove ${lock}`,
  });
}
