import type { ClusterState } from "@cluster-connect/api";

/** Result of the last probe through a tunnel. */
export type ProbeState =
  | { readonly kind: "pending" }
  | { readonly kind: "passed"; readonly at: Date }
  | { readonly kind: "failed"; readonly at: Date; readonly reason: string };

/** The state that a cluster's tunnels make together. */
export function clusterStateOf(probes: readonly ProbeState[]): ClusterState {
  if (probes.length === 0) return "offline";
  if (probes.some(({ kind }) => kind === "passed")) return "connected";
  return probes.some(({ kind }) => kind === "pending") ? "connecting" : "degraded";
}

/** Why a cluster with these probes is degraded, if it is. Of several reasons each relay takes the same one. */
export function reasonOf(probes: readonly ProbeState[]): string | undefined {
  if (clusterStateOf(probes) !== "degraded") return undefined;
  return probes.flatMap((probe) => (probe.kind === "failed" ? [probe.reason] : [])).toSorted()[0];
}
