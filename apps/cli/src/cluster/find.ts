import { type ClusterId, ConnectError, parseClusterId } from "@cluster-connect/protocol";
import type { Cluster } from "../relay/api.ts";
import { idInGroup } from "./group.ts";

/**
 * Picks the named clusters.
 *
 * @param names as they were typed, at least one.
 * @param group they are meant in, see {@link idInGroup}.
 * @throws ConnectError `CC_CLUSTER_UNKNOWN` naming the first that the relay does not know, or does not grant.
 */
export function findClusters(
  names: readonly string[],
  offered: readonly Cluster[],
  relay: string,
  group?: string,
): readonly Cluster[] {
  const ids = offered.map((cluster) => cluster.id);
  return [...new Set(names)].map((name) => {
    const id: ClusterId = parseClusterId(idInGroup(name, group, ids));
    const found = offered.find((cluster) => cluster.id === id);
    if (found !== undefined) return found;
    const near = nearest(id, ids);
    throw new ConnectError("CC_CLUSTER_UNKNOWN", `${relay} knows no cluster ${id} that you may reach`, {
      hint:
        near === undefined
          ? "Run `cluster-connect clusters` to see the clusters you may reach."
          : `Did you mean ${near}? \`cluster-connect clusters\` lists those you may reach.`,
    });
  });
}

/** @throws ConnectError `CC_USAGE` when no cluster was named. */
export function requireNames(names: readonly string[] | undefined): readonly string[] {
  if (names !== undefined && names.length > 0) return names;
  throw new ConnectError("CC_USAGE", "No cluster is named", {
    hint: "Give -n NAME; `cluster-connect clusters` lists the names.",
  });
}

function nearest(name: string, others: readonly string[]): string | undefined {
  const ranked = others.map((other) => ({ other, distance: distance(name, other) }));
  ranked.sort((a, b) => a.distance - b.distance);
  const [best] = ranked;
  return best !== undefined && best.distance <= Math.max(1, name.length / 3) ? best.other : undefined;
}

/** Levenshtein's: how many characters differ. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, left] of [...a].entries()) {
    const next = [i + 1];
    for (const [j, right] of [...b].entries()) {
      const swap = (row[j] ?? 0) + (left === right ? 0 : 1);
      next.push(Math.min(swap, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
