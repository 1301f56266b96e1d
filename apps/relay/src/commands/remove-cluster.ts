import { type ClusterId, ConnectError } from "@cluster-connect/protocol";
import type { Output } from "../command-line.ts";
import { removeCluster } from "../store/clusters.ts";
import type { Store } from "../store/store.ts";

/**
 * Forgets a cluster, and says what went with it.
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
