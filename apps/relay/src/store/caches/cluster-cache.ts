import { type ClusterId, ConnectError, type KeyId } from "@cluster-connect/protocol";
import { findAgentKey, type ValidAgentKey } from "../queries/agent-keys.ts";
import { isKnownCluster } from "../queries/clusters.ts";
import type { Store } from "../store.ts";
import { createOutageCache, type OutageCache } from "./outage-cache.ts";

/** Which clusters and agent keys there are, also while the store does not answer. */
export interface ClusterCache {
  readonly clusters: OutageCache<ClusterId, true>;
  readonly keys: OutageCache<KeyId, ValidAgentKey>;
}

/** Short: a cluster that was disabled is closed this much later. */
const CLUSTER_FRESH_MS = 1_000;

export function createClusterCache(
  options: { readonly outageMs: number },
  deps: {
    readonly store: Store;
    readonly away: () => boolean;
    readonly now: () => number;
    /** Whether this relay, or another one as far as is known, has a tunnel to the cluster. */
    readonly hasTunnel: (clusterId: ClusterId) => boolean;
  },
): ClusterCache {
  const { outageMs } = options;
  const { db } = deps.store;
  const findCluster = async (id: ClusterId): Promise<true | undefined> => {
    // A cluster that is disabled loses its tunnels, so one that has them is there.
    if (deps.away() && deps.hasTunnel(id)) return true;
    try {
      return (await isKnownCluster(db, id)) ? true : undefined;
    } catch (cause) {
      if (deps.hasTunnel(id)) return true;
      throw storeFailed(cause);
    }
  };
  const findKey = async (keyId: KeyId): Promise<ValidAgentKey | undefined> => {
    try {
      return await findAgentKey(db, keyId);
    } catch (cause) {
      throw storeFailed(cause);
    }
  };
  return {
    clusters: createOutageCache(findCluster, { freshMs: CLUSTER_FRESH_MS, outageMs }, deps),
    // Asked each time: a key that was revoked opens no tunnel from that moment on.
    keys: createOutageCache(findKey, { freshMs: 0, outageMs }, deps),
  };
}

function storeFailed(cause: unknown): ConnectError {
  return new ConnectError("CC_STORE_FAILED", "The relay's database does not answer", { cause });
}
