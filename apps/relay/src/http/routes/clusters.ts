import type { ListedCluster } from "@cluster-connect/api";
import type { Principal } from "@cluster-connect/auth";
import { serverNameOf } from "@cluster-connect/protocol";
import { type ClusterAtRelays, clusterAtRelays, type TunnelsElsewhere } from "../../agents/at-relays.ts";
import { newFingerprints, parseAuthorities } from "../../agents/authorities.ts";
import type { Registry } from "../../agents/tunnels.ts";
import type { GrantBook } from "../../grants/grant-book.ts";
import { listClusters, type StoredCluster } from "../../store/queries/clusters.ts";
import type { Store } from "../../store/store.ts";

/** The clusters a caller may reach, and how they are. */
export async function clustersFor(
  principal: Principal,
  deps: {
    readonly store: Store;
    readonly registry: Registry;
    readonly tunnelsElsewhere: TunnelsElsewhere;
    readonly grants: Pick<GrantBook, "decide">;
    readonly now: () => number;
  },
): Promise<readonly ListedCluster[]> {
  const now = new Date(deps.now());
  const clusters = await listClusters(deps.store.db);
  return clusters
    .filter(({ id }) => deps.grants.decide(principal, id, undefined).allowed)
    .map((cluster) => clusterAnswer(cluster, clusterAtRelays(cluster, deps), now));
}

function clusterAnswer(cluster: StoredCluster, view: ClusterAtRelays, now: Date): ListedCluster {
  const lastSeenAt = view.agents.length > 0 ? now : cluster.lastSeenAt;
  const authorities = cluster.authorities === undefined ? undefined : parseAuthorities(cluster.authorities);
  const pending = cluster.pendingAuthorities;
  return {
    id: cluster.id,
    status: view.state,
    since: (view.since ?? cluster.lastSeenAt)?.toISOString() ?? null,
    lastSeenAt: lastSeenAt?.toISOString() ?? null,
    lastSeenSeconds: lastSeenAt === undefined ? null : Math.floor((now.getTime() - lastSeenAt.getTime()) / 1_000),
    reason: view.reason ?? null,
    agents: view.agents.map(({ instanceId, since }) => ({ instanceId, since: since.toISOString() })),
    certificateAuthorities: authorities?.pem ?? null,
    authoritySignatures: cluster.authoritySignatures ?? null,
    fingerprint: authorities?.fingerprint ?? null,
    pendingFingerprint:
      pending === undefined ? null : (newFingerprints(cluster.authorities ?? null, pending)[0] ?? null),
    pendingUid: cluster.pendingUid ?? null,
    serverName: serverNameOf(cluster.id),
  };
}
