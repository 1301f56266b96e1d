import type { Principal } from "@cluster-connect/auth";
import { UPSTREAM_KUBERNETES } from "@cluster-connect/protocol";
import type { Grant } from "./grant.ts";
import type { Labels } from "./label-selector.ts";

/** A cluster as grants see it; one that is not known has no labels. */
export interface GrantedCluster {
  readonly id: string;
  readonly labels: Labels;
  /** Where in it; undefined to ask whether there is anything that is granted. */
  readonly upstream: string | undefined;
}

/** The part that a grant lacks to allow a caller a cluster. */
export type Lack = "cluster" | "upstream" | "caller" | "condition" | "expired";

/** A grant that lacks exactly one thing. */
export interface NearMiss {
  readonly grant: Grant;
  readonly lack: Lack;
  /** One line: the difference that would be needed. */
  readonly text: string;
}

export type Decision =
  | { readonly allowed: true; readonly grant: Grant; readonly reason: string }
  | { readonly allowed: false; readonly reason: string; readonly near: readonly NearMiss[] };

/**
 * Whether one grant allows the principal the cluster. Nothing is allowed without one, and no grant takes anything away.
 */
export function decide(principal: Principal, cluster: GrantedCluster, grants: readonly Grant[], now: Date): Decision {
  const near: NearMiss[] = [];
  for (const grant of grants) {
    const lacks = lacksOf(grant, principal, cluster, now);
    if (lacks.length === 0) return { allowed: true, grant, reason: `granted to ${grant.subject.names(principal)}` };
    if (lacks.length === 1) near.push(...lacks);
  }
  return { allowed: false, reason: reasonOf(near, cluster), near };
}

function reasonOf(near: readonly NearMiss[], { upstream }: GrantedCluster): string {
  if (near.some(({ lack }) => lack === "expired")) return "the grant has expired";
  if (near.some(({ lack }) => lack === "upstream")) return `no grant names this caller and the upstream ${upstream}`;
  return "no grant names this caller and this cluster";
}

/** When the next grant expires; earlier decisions may be wrong from then on. */
export function nextExpiry(grants: readonly Grant[], now: Date): Date | undefined {
  const ahead = grants.flatMap(({ spec: { expiresAt } }) =>
    expiresAt !== undefined && expiresAt > now ? [expiresAt] : [],
  );
  return ahead.toSorted((a, b) => a.getTime() - b.getTime())[0];
}

function lacksOf(grant: Grant, principal: Principal, cluster: GrantedCluster, now: Date): readonly NearMiss[] {
  const { spec, subject, selector } = grant;
  const miss = (lack: Lack, text: string): NearMiss => ({ grant, lack, text });
  const lacks: NearMiss[] = [];
  if (selector === undefined ? !listsCluster(spec.clusters, cluster.id) : !selector.matches(cluster.labels)) {
    lacks.push(miss("cluster", `it is for other clusters than ${cluster.id}`));
  }
  if (!grantsUpstream(spec, cluster))
    lacks.push(miss("upstream", `it is for other upstreams than ${cluster.upstream}`));
  if (subject.names(principal) === undefined) lacks.push(miss("caller", `it does not name ${principal.username}`));
  const { expiresAt } = spec;
  if (expiresAt !== undefined && now >= expiresAt) {
    lacks.push(miss("expired", `it has expired at ${expiresAt.toISOString()}`));
  }
  // A condition is asked last, and only where its answer counts: it costs more than all else.
  if (lacks.length > 1) return lacks;
  const condition = subject.holds(principal);
  if (!condition.ok) lacks.push(miss("condition", condition.text));
  return lacks;
}

function grantsUpstream({ upstreams = [UPSTREAM_KUBERNETES] }: Grant["spec"], { upstream }: GrantedCluster): boolean {
  return upstream === undefined || upstreams.includes(upstream);
}

function listsCluster(clusters: readonly string[] = [], id: string): boolean {
  return clusters.includes("*") || clusters.includes(id);
}
