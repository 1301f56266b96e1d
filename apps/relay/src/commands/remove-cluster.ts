import { type ClusterId, ConnectError } from "@cluster-connect/protocol";
import { removeCluster } from "../store/queries/clusters.ts";
import type { Store } from "../store/store.ts";
import type { Output } from "./command-line.ts";

/**
 * Forgets a cluster, and counts the keys and codes that went with it.
 *
 * @throws ConnectError `CC_CLUSTER_UNKNOWN`.
 */
export async function forgetCluster(
  store: Store,
  { clusterId, output }: { readonly clusterId: ClusterId; readonly output: Output },
  now: Date,
): Promise<string> {
  const removed = await removeCluster(store, clusterId, { actor: "operator", at: now });
  if (removed === undefined) throw new ConnectError("CC_CLUSTER_UNKNOWN", `There is no cluster ${clusterId}`);
  if (output === "json") return JSON.stringify({ clusterId, ...removed });
  const { keys, codes } = removed;
  return `Cluster ${clusterId} is removed, with its keys (${keys}) and codes (${codes}); a running relay closes its tunnels within seconds.`;
}
