import type { ClusterId } from "@cluster-connect/protocol";
import type { Folders } from "../settings/folders.ts";
import { changeKubeconfig } from "./file.ts";
import { changeKeptEntries, type KeptEntry } from "./kept-entries.ts";

/**
 * Writes a cluster's new authorities into the entries that stay, which would otherwise refuse it.
 *
 * @param authorities PEM.
 * @returns the contexts that were brought up to date.
 */
export async function refreshKeptEntries(
  relay: string,
  cluster: ClusterId,
  authorities: string,
  options: { readonly signal: AbortSignal },
  folders: Pick<Folders, "state">,
): Promise<readonly string[]> {
  const fresh: KeptEntry[] = [];
  const refresh = (one: KeptEntry): KeptEntry => {
    if (one.relay !== relay || one.cluster !== cluster || one.entry.authorities === authorities) return one;
    const changed = { ...one, entry: { ...one.entry, authorities } };
    fresh.push(changed);
    return changed;
  };
  await changeKeptEntries(
    folders,
    options,
    async (kept) => kept.map(refresh),
    async () => {},
  );
  // Not under the list's lock: others take the kubeconfig's first.
  for (const { kubeconfig, entry } of fresh) {
    await changeKubeconfig(kubeconfig, options, (document) => {
      if (document.portOf(entry.name) !== entry.port) return;
      const current = document.currentContext;
      document.add([entry]);
      document.use(current);
    });
  }
  return fresh.map(({ entry }) => entry.context);
}
