import type { Principal } from "@cluster-connect/auth";
import type { ClusterId } from "@cluster-connect/protocol";
import { parseAuthorities } from "../authorities.ts";
import type { ClusterState } from "../cluster-status.ts";
import type { GrantBook } from "../grants/grant-book.ts";
import type { Registry } from "../registry.ts";
import { listClusters, type StoredCluster } from "../store/clusters.ts";
import type { Store } from "../store/store.ts";

/** One cluster in the answer of `GET /v1/clusters`; times are ISO 8601. */
export interface ClusterAnswer {
  readonly id: ClusterId;
  readonly status: ClusterState;
  /** When it came into that state, where known. */
  readonly since: string | null;
  readonly lastSeenAt: string | null;
  readonly lastSeenSeconds: number | null;
  /** Which hop is missing, when degraded. */
  readonly reason: string | null;
  readonly agents: readonly { readonly instanceId: string; readonly since: string }[];
  /** PEM. */
  readonly certificateAuthorities: string | null;
  readonly fingerprint: string | null;
  /** What TLS through a stream to this cluster is verified against. */
  readonly serverName: string;
}

const SERVER_NAME_SUFFIX = "clusters.cluster-connect.internal";

/** The clusters a caller may reach, and how they are. */
export async function clustersFor(
  principal: Principal,
  deps: {
    readonly store: Store;
    readonly registry: Registry;
    readonly grants: Pick<GrantBook, "decide">;
    readonly now: () => number;
  },
): Promise<readonly ClusterAnswer[]> {
  const now = new Date(deps.now());
  const clusters = await listClusters(deps.store.db);
  return clusters
    .filter(({ id }) => deps.grants.decide(principal, id).allowed)
    .map((cluster) => clusterAnswer(cluster, deps.registry, now));
}

function clusterAnswer(cluster: StoredCluster, registry: Registry, now: Date): ClusterAnswer {
  const view = registry.view(cluster.id);
  const lastSeenAt = view.agents.length > 0 ? now : cluster.lastSeenAt;
  const authorities = cluster.authorities === undefined ? undefined : parseAuthorities(cluster.authorities);
  return {
    id: cluster.id,
    status: view.state,
    since: (view.since ?? cluster.lastSeenAt)?.toISOString() ?? null,
    lastSeenAt: lastSeenAt?.toISOString() ?? null,
    lastSeenSeconds: lastSeenAt === undefined ? null : Math.floor((now.getTime() - lastSeenAt.getTime()) / 1_000),
    reason: view.reason ?? null,
    agents: view.agents.map(({ instanceId, since }) => ({ instanceId, since: since.toISOString() })),
    certificateAuthorities: authorities?.pem ?? null,
    fingerprint: authorities?.fingerprint ?? null,
    serverName: `${cluster.id}.${SERVER_NAME_SUFFIX}`,
  };
}
