import { type ClusterId, ConnectError, type KeyId } from "@cluster-connect/protocol";
import { createRemembered, type Remembered } from "./remembered.ts";
import { type AgentKey, findAgentKey } from "./store/agent-keys.ts";
import { isKnownCluster } from "./store/clusters.ts";
import type { Store } from "./store/store.ts";

/** Which clusters and agent keys there are, also while the store does not answer. */
export interface Known {
  readonly clusters: Remembered<ClusterId, true>;
  readonly keys: Remembered<KeyId, AgentKey>;
}

/** Short: a cluster that was disabled is closed this much later. */
const CLUSTER_FRESH_MS = 1_000;

export function createKnown(
  options: { readonly outageMs: number },
  deps: {
    readonly store: Store;
    readonly away: () => boolean;
    readonly now: () => number;
    /** Whether this relay, or another one as far as is known, has a tunnel to the cluster. */
    readonly hasTunnel: (clusterId: ClusterId) => boolean;
  },
): Known {
  const { outageMs } = options;
  const { db } = deps.store;
  const findCluster = async (id: ClusterId): Promise<true | undefined> => {
    // A cluster that is disabled loses its tunnels, so one that has them is there.
    if (deps.away() && deps.hasTunnel(id)) return true;
    try {
      return (await isKnownCluster(db, id)) ? true : undefined;
    } catch (cause) {
      if (deps.hasTunnel(id)) return true;
      throw failed(cause);
    }
  };
  const findKey = async (keyId: KeyId): Promise<AgentKey | undefined> => {
    try {
      return await findAgentKey(db, keyId);
    } catch (cause) {
      throw failed(cause);
    }
  };
  return {
    clusters: createRemembered(findCluster, { freshMs: CLUSTER_FRESH_MS, outageMs }, deps),
    // Asked each time: a key that was revoked opens no tunnel from that moment on.
    keys: createRemembered(findKey, { freshMs: 0, outageMs }, deps),
  };
}

function failed(cause: unknown): ConnectError {
  return new ConnectError("CC_STORE_FAILED", "The relay's database does not answer", { cause });
}
