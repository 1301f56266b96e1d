import type { ClusterState } from "@cluster-connect/api";
import type { Metrics } from "@cluster-connect/service";
import type { Registry } from "./agents/tunnels.ts";
import type { StreamsUnderWay } from "./callers/streams-under-way.ts";
import type { GrantBook } from "./grants/grant-book.ts";

/** Sources of the gauges: sessions, tunnels and streams right now. */
export interface GaugeSources {
  readonly registry: Pick<Registry, "tunnels" | "count">;
  readonly streams: Pick<StreamsUnderWay, "size">;
  readonly grants: Pick<GrantBook, "grants" | "problems">;
  readonly cliSessions: () => number;
}

/** An offline cluster has no tunnel here, and others may serve it. */
const CLUSTER_STATES: readonly ClusterState[] = ["connected", "degraded", "connecting"];

/** Shows how much of everything there is, each time metrics are read. */
export function observeRelay(metrics: Metrics, { registry, streams, grants, cliSessions }: GaugeSources): void {
  metrics.observe("tunnels", "Agent tunnels that are open.", () => registry.tunnels().length);
  metrics.observe("cli_sessions", "Sessions of CLIs that are open.", cliSessions);
  for (const state of CLUSTER_STATES) {
    const text = `Clusters with a tunnel to this relay that are ${state}.`;
    metrics.observe(`clusters_${state}`, text, () => registry.count(state));
  }
  metrics.observe("grants", "Grants of settings, files and the API.", () => grants.grants().length);
  const stale = "Sources of grants whose newest state could not be taken.";
  metrics.observe("grants_stale", stale, () => grants.problems().length);
  metrics.observe("streams", "Streams that pass through now.", () => streams.size);
}
