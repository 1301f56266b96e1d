import { type ConnectError, toConnectError } from "@cluster-connect/protocol";
import type { CliDeps } from "../deps.ts";
import { missingProgram } from "../platform/launcher.ts";
import { foldersOf } from "../settings/folders.ts";
import type { CredentialCommand } from "./entry.ts";
import { changeKubeconfig } from "./file.ts";
import { changeKeptEntries, type KeptEntry, readKeptEntries } from "./kept-entries.ts";

/** An entry whose program was gone, and the outcome of mending it. */
export interface MendedEntry {
  readonly context: string;
  readonly kubeconfig: string;
  /** The missing program. */
  readonly missing: string;
  /** Why it could not be mended; undefined when it was. */
  readonly failure: ConnectError | undefined;
}

/**
 * Has entries that stay start this program, where the program they started is gone. Node or this program was replaced,
 * or npx's cache was emptied.
 */
export async function mendKeptEntries(
  options: { readonly signal: AbortSignal },
  deps: Pick<CliDeps, "env" | "homeDir" | "self">,
): Promise<readonly MendedEntry[]> {
  const folders = foldersOf(deps);
  const broken = (await readKeptEntries(folders)).flatMap((one) => {
    const missing = missingProgram(one.entry.credential);
    return missing === undefined ? [] : [{ one, missing }];
  });
  const mended: MendedEntry[] = [];
  for (const { one, missing } of broken) {
    const { kubeconfig, entry } = one;
    const failure = await mendOne(one, options, deps).then(
      () => undefined,
      (error: unknown) => toConnectError(error),
    );
    options.signal.throwIfAborted();
    mended.push({ context: entry.context, kubeconfig, missing, failure });
  }
  return mended;
}

async function mendOne(
  { kubeconfig, entry }: KeptEntry,
  options: { readonly signal: AbortSignal },
  deps: Pick<CliDeps, "env" | "homeDir" | "self">,
): Promise<void> {
  const fresh = { ...entry, credential: startedBy(entry.credential, deps) };
  await changeKubeconfig(kubeconfig, options, async (document) => {
    const isOurs = document.portOf(entry.name) === entry.port;
    await changeKeptEntries(
      foldersOf(deps),
      options,
      async (kept) =>
        kept.map((one) =>
          one.kubeconfig === kubeconfig && one.entry.name === entry.name ? { ...one, entry: fresh } : one,
        ),
      async () => {
        if (!isOurs) return;
        const current = document.currentContext;
        document.add([fresh]);
        document.use(current);
      },
    );
  });
}

function startedBy(credential: CredentialCommand, { self }: Pick<CliDeps, "self">): CredentialCommand {
  const flags = credential.args.slice(Math.max(0, credential.args.indexOf("credential")));
  return { ...credential, command: self.command, args: [...self.args, ...flags] };
}

/** A line for a person about one mended entry. */
export function describeMended({ context, kubeconfig, missing, failure }: MendedEntry): string {
  const found = `${context} in ${kubeconfig} started ${missing}, which is gone`;
  return failure === undefined ? `Mended: ${found}.` : `warning: ${found}, and cannot be mended: ${failure.message}`;
}
