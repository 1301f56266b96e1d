import { ConnectError } from "@cluster-connect/protocol";
import type { CliDeps } from "../deps.ts";
import { readKubeconfig } from "./file.ts";
import { listedKubeconfigs } from "./location.ts";

/** Entries as they are about to be written. */
export interface NewEntries {
  readonly contexts: readonly string[];
  /** Names of clusters, which are also those of users. */
  readonly clusters: readonly string[];
}

/**
 * Looks at the other files of KUBECONFIG, which kubectl merges: of a name that is in several, the first file's counts.
 *
 * @param path the file that the entries go to.
 * @throws ConnectError `CC_KUBECONFIG_INVALID` when kubectl would take another cluster than the one that is meant.
 */
export async function refuseMasked(path: string, entries: NewEntries, deps: Pick<CliDeps, "env">): Promise<void> {
  const files = listedKubeconfigs(deps);
  const own = files.indexOf(path);
  if (own < 0) return;
  for (const [index, file] of files.entries()) {
    if (file === path) continue;
    // A file that kubectl cannot read either is not ours to mend.
    const document = await readKubeconfig(file).catch(() => undefined);
    if (document === undefined) continue;
    const isBefore = index < own;
    const context = entries.contexts.find((name) =>
      isBefore ? document.hasContext(name) : document.hasForeignContext(name),
    );
    if (context !== undefined) throw masked(file, `a context ${context}`, isBefore ? "before" : "beside", path);
    const cluster = isBefore ? entries.clusters.find((name) => document.hasCluster(name)) : undefined;
    if (cluster !== undefined) throw masked(file, `the cluster ${cluster}`, "before", path);
  }
}

/** The context that kubectl takes for current although these entries are added; undefined when it is theirs. */
export async function currentElsewhere(
  path: string,
  deps: Pick<CliDeps, "env">,
): Promise<{ readonly file: string; readonly context: string } | undefined> {
  const files = listedKubeconfigs(deps);
  for (const file of files.slice(0, Math.max(0, files.indexOf(path)))) {
    const context = (await readKubeconfig(file).catch(() => undefined))?.currentContext;
    if (context !== undefined && context !== "") return { file, context };
  }
  return undefined;
}

function masked(file: string, what: string, where: "before" | "beside", path: string): ConnectError {
  return new ConnectError("CC_KUBECONFIG_INVALID", `${file} has ${what}, and KUBECONFIG names it ${where} ${path}`, {
    hint: `Choose another name with --kube-context, or add the entry there with -f ${file}.`,
  });
}
