import type { ClusterId } from "@cluster-connect/protocol";
import type { Folders } from "../settings/folders.ts";
import type { CredentialCommand } from "./entry.ts";
import { changeKubeconfig } from "./file.ts";
import { changeKeptEntries, type KeptEntry } from "./kept-entries.ts";

/**
 * Writes a cluster's new authorities into the entries that stay, which would otherwise refuse it.
 *
 * @returns the contexts that were brought up to date.
 */
export async function refreshKeptEntries(
  relay: string,
  cluster: ClusterId,
  { pem: authorities, fingerprints }: { readonly pem: string; readonly fingerprints: readonly string[] },
  options: { readonly signal: AbortSignal },
  folders: Pick<Folders, "state">,
): Promise<readonly string[]> {
  const fresh: KeptEntry[] = [];
  const refresh = (one: KeptEntry): KeptEntry => {
    if (one.relay !== relay || one.cluster !== cluster || one.entry.authorities === authorities) return one;
    const credential = withFingerprints(one.entry.credential, cluster, fingerprints);
    const changed = { ...one, entry: { ...one.entry, authorities, credential } };
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

/** With the fingerprints that are trusted now, in place of those that were. */
function withFingerprints(
  credential: CredentialCommand,
  cluster: ClusterId,
  fingerprints: readonly string[],
): CredentialCommand {
  const args = credential.args.filter(
    (word, index, all) => word !== "--cluster-fingerprint" && all[index - 1] !== "--cluster-fingerprint",
  );
  const trusted = fingerprints.flatMap((fingerprint) => ["--cluster-fingerprint", `${cluster}=${fingerprint}`]);
  return { ...credential, args: [...args, ...trusted] };
}
