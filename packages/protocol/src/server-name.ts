import type { ClusterId } from "./ids.ts";

/** Below this name each cluster has one of its own. It is in no public DNS; only TLS through a stream uses it. */
const SUFFIX = "clusters.cluster-connect.internal";

/** The name that a cluster's auth proxy has in TLS. Its first label is the cluster's id. */
export function serverNameOf(clusterId: ClusterId): string {
  return `${clusterId}.${SUFFIX}`;
}
