import type { ListedCluster } from "@cluster-connect/api";
import type { Principal } from "@cluster-connect/auth";
import { serverNameOf } from "@cluster-connect/protocol";
import { newFingerprints, parseAuthorities } from "../../agents/authorities.ts";
import type { ClusterView, Registry } from "../../agents/tunnels.ts";
import type { GrantBook } from "../../grants/grant-book.ts";
import type { Fleet } from "../../peers/fleet.ts";
import { clusterStateOf, reasonOf } from "../../status/state.ts";
import { listClusters, type StoredCluster } from "../../store/queries/clusters.ts";
import type { Store } from "../../store/store.ts";

type TunnelsElsewhere = Fleet["tunnelsElsewhere"];

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
    .map((cluster) => clusterAnswer(cluster, viewOf(cluster, deps), now));
}

/**
 * A cluster as all relays together see it: the same at each of them, also at one without a tunnel of its own. What this
 * relay's own tunnels say is of now, what those of others say is some seconds old at most.
 */
function viewOf(
  { id, noted }: StoredCluster,
  { registry, tunnelsElsewhere }: { readonly registry: Registry; readonly tunnelsElsewhere: TunnelsElsewhere },
): Omit<ClusterView, "probes"> {
  const own = registry.view(id);
  const others = tunnelsElsewhere(id);
  const probes = [...own.probes, ...others.map(({ probe }) => probe)];
  const state = clusterStateOf(probes);
  const agents = new Map(own.agents.map(({ instanceId, since }) => [instanceId, since]));
  for (const { agentInstanceId, since } of others) {
    const known = agents.get(agentInstanceId);
    if (known === undefined || since < known) agents.set(agentInstanceId, since);
  }
  return {
    state,
    since: noted?.status === state ? noted.at : own.since,
    reason: reasonOf(probes),
    agents: [...agents].map(([instanceId, since]) => ({ instanceId, since })).toSorted(byAge),
  };
}

function byAge(a: ClusterView["agents"][number], b: ClusterView["agents"][number]): number {
  return a.since.getTime() - b.since.getTime() || (a.instanceId < b.instanceId ? -1 : 1);
}

function clusterAnswer(cluster: StoredCluster, view: Omit<ClusterView, "probes">, now: Date): ListedCluster {
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
