import type { Progress } from "../../process/progress.ts";
import { isGone, type Owner, parseClusterName } from "./owner.ts";

/** The commands of kind that are used here. */
export interface KindCommands {
  clusters(): Promise<readonly string[]>;
  remove(name: string): Promise<void>;
}

/** Removes the clusters of owners that were killed. A cluster stays when its owner lives or is not known. */
export async function removeLeftovers(
  here: Owner,
  kind: KindCommands,
  deps: { readonly progress: Progress },
): Promise<void> {
  for (const name of await kind.clusters()) {
    const owner = parseClusterName(name);
    if (owner === undefined || !(await isGone(owner, here))) continue;
    deps.progress.line(`removing the kind cluster ${name}: process ${owner.pid} has ended without it`);
    // Another process may have found it, too.
    await kind.remove(name).catch(() => {});
  }
}
