import type { Principal } from "./principal.ts";

/** Lets users and groups open streams to clusters. What they may do there is the cluster's own decision. */
export interface Grant {
  /** Cluster ids; "*" is every cluster. */
  readonly clusters: readonly string[];
  /** Usernames after mapping, exact. */
  readonly users?: readonly string[];
  /** Groups after mapping, exact. */
  readonly groups?: readonly string[];
  /** From this moment on the grant gives nothing. */
  readonly expiresAt?: Date;
}

export interface Decision {
  readonly allowed: boolean;
  /** One line for the log: which grant allowed it, or why none did. */
  readonly reason: string;
}

/** Whether one grant, not ended, names the cluster and the principal. Nothing is allowed without one. */
export function mayReach(
  principal: Pick<Principal, "username" | "groups">,
  clusterId: string,
  grants: readonly Grant[],
  now: Date,
): Decision {
  let expired = false;
  for (const grant of grants) {
    if (!grant.clusters.includes("*") && !grant.clusters.includes(clusterId)) continue;
    const because = namedBy(grant, principal);
    if (because === undefined) continue;
    if (grant.expiresAt === undefined || now < grant.expiresAt) {
      return { allowed: true, reason: `granted to ${because}` };
    }
    expired = true;
  }
  return { allowed: false, reason: expired ? "the grant has expired" : "no grant names this caller and this cluster" };
}

function namedBy(grant: Grant, principal: Pick<Principal, "username" | "groups">): string | undefined {
  if (grant.users?.includes(principal.username)) return `user ${principal.username}`;
  const group = principal.groups.find((name) => grant.groups?.includes(name));
  return group === undefined ? undefined : `group ${group}`;
}
