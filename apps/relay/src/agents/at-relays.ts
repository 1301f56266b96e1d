import type { ClusterId } from "@cluster-connect/protocol";
import { clusterStateOf, reasonOf } from "../status/state.ts";
import type { StoredCluster } from "../store/queries/clusters.ts";
import type { StoredTunnel } from "../store/queries/tunnels.ts";
import type { ClusterView, Registry } from "./tunnels.ts";

/** Tunnels of a cluster to other relays that this one reaches. */
export type TunnelsElsewhere = (clusterId: ClusterId) => readonly StoredTunnel[];

/** A cluster as all relays together see it. */
export type ClusterAtRelays = Omit<ClusterView, "probes">;

/**
 * Tells of a cluster the same at each relay, also at one without a tunnel of its own. This relay's own tunnels are seen
 * as they are now, those of others as they were some seconds ago.
 */
export function clusterAtRelays(
  { id, noted }: Pick<StoredCluster, "id" | "noted">,
  deps: { readonly registry: Pick<Registry, "view">; readonly tunnelsElsewhere: TunnelsElsewhere },
): ClusterAtRelays {
  const own = deps.registry.view(id);
  const others = deps.tunnelsElsewhere(id);
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
