import { ConnectError } from "@cluster-connect/protocol";
import { requireNames } from "../../cluster/find.ts";
import type { CliDeps } from "../../deps.ts";
import { changeKubeconfig } from "../../kubeconfig/file.ts";
import { changeKeptEntries, type KeptEntry, readKeptEntries } from "../../kubeconfig/kept-entries.ts";
import { locateKubeconfigFile } from "../../kubeconfig/location.ts";
import { findServingProxy } from "../../proxies/ensure-running.ts";
import { foldersOf } from "../../settings/folders.ts";
import type { CommandContext } from "../context.ts";
import { endProxy } from "../proxy/stop.ts";

export interface KubeconfigRemoveFlags {
  readonly name?: readonly string[];
  readonly file?: string;
  readonly all?: boolean;
}

/** Takes entries out again, and ends proxies that only they used. */
export async function removeFromKubeconfig(
  flags: KubeconfigRemoveFlags,
  { deps, signal }: CommandContext,
): Promise<void> {
  const folders = foldersOf(deps);
  const file = flags.file === undefined && flags.all === true ? undefined : locateKubeconfigFile(flags.file, deps);
  const inFile = (await readKeptEntries(folders)).filter(({ kubeconfig }) => file === undefined || kubeconfig === file);
  const chosen = flags.all === true ? inFile : requireNames(flags.name).flatMap((name) => choose(name, inFile, file));
  for (const one of chosen) {
    await removeOne(one, signal, deps);
    deps.stderr.write(`Removed ${one.entry.context} from ${one.kubeconfig}.\n`);
  }
  if (chosen.length === 0) deps.stderr.write("There is no entry to remove.\n");
}

async function removeOne(one: KeptEntry, signal: AbortSignal, deps: CliDeps): Promise<void> {
  const { entry, kubeconfig } = one;
  let isLast = false;
  await changeKubeconfig(kubeconfig, { signal }, async (document) => {
    await changeKeptEntries(
      foldersOf(deps),
      { signal },
      async (kept) => {
        const left = kept.filter((other) => !(other.kubeconfig === kubeconfig && other.entry.name === entry.name));
        isLast = left.every((other) => other.entry.name !== entry.name);
        return left;
      },
      async () => {
        // A proxy that runs in the foreground may have the entry just now; it removes it itself.
        if (document.portOf(entry.name) === entry.port) document.remove([entry.name], one.former ?? undefined);
      },
    );
  });
  const proxy = isLast ? await findServingProxy({ ...one, port: entry.port }, { signal }, deps) : undefined;
  if (proxy !== undefined && proxy.record.kubeconfig === null) await endProxy(proxy, signal);
}

function choose(name: string, kept: readonly KeptEntry[], file: string | undefined): readonly KeptEntry[] {
  const found = kept.filter(({ cluster, entry }) => cluster === name || entry.context === name);
  if (found.length > 0) return found;
  throw new ConnectError("CC_CLUSTER_UNKNOWN", `${file ?? "No kubeconfig"} has no entry of ours for ${name}`, {
    hint: "Run `cluster-connect kubeconfig list` to see them.",
  });
}
