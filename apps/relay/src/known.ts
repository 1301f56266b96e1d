import type { ClusterId } from "@cluster-connect/protocol";
import { errorFields, type Logger } from "@cluster-connect/service";
import { isKnownCluster } from "./store/clusters.ts";
import type { Store } from "./store/store.ts";

/** Which clusters there are, also while the store does not answer. */
export interface KnownClusters {
  /** @throws what the store throws, for a cluster that was not asked for within the outage time. */
  has(clusterId: ClusterId): Promise<boolean>;
}

export interface KnownClustersOptions {
  /** How long an answer is as good as a new one. */
  readonly freshMs?: number;
  /** How long an answer counts while the store does not answer. */
  readonly outageMs: number;
}

/** Short: a cluster that was disabled is closed this much later. */
const FRESH_MS = 1_000;
const MAX_ENTRIES = 50_000;

export function createKnownClusters(
  options: KnownClustersOptions,
  deps: { readonly store: Store; readonly away: () => boolean; readonly log: Logger; readonly now: () => number },
): KnownClusters {
  const { freshMs = FRESH_MS, outageMs } = options;
  const { store, log, now } = deps;
  const seenAt = new Map<ClusterId, number>();
  const wasSeen = (clusterId: ClusterId, withinMs: number): boolean =>
    now() - (seenAt.get(clusterId) ?? Number.NEGATIVE_INFINITY) < withinMs;
  return {
    async has(clusterId) {
      if (wasSeen(clusterId, deps.away() ? outageMs : freshMs)) return true;
      try {
        const known = await isKnownCluster(store.db, clusterId);
        if (!known) {
          seenAt.delete(clusterId);
          return false;
        }
        if (seenAt.size >= MAX_ENTRIES) seenAt.clear();
        seenAt.set(clusterId, now());
        return true;
      } catch (error) {
        if (!wasSeen(clusterId, outageMs)) throw error;
        log.debug({ event: "cluster.remembered", clusterId, ...errorFields(error) }, "the store does not answer");
        return true;
      }
    },
  };
}
