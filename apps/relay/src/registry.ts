import type { Session } from "@cluster-connect/framing";
import type { ClusterId, InstanceId, KeyId, SessionId } from "@cluster-connect/protocol";
import { type ClusterState, clusterStateOf, type ProbeState } from "./cluster-status.ts";

/** An agent's tunnel to this relay. */
export interface Tunnel {
  readonly clusterId: ClusterId;
  readonly instanceId: InstanceId;
  readonly keyId: KeyId;
  readonly sessionId: SessionId;
  readonly session: Session;
  readonly since: Date;
  /** The agent's address as this relay saw it. */
  readonly address?: string | undefined;
}

/** A cluster as this relay sees it right now. */
export interface ClusterView {
  readonly state: ClusterState;
  /** When it came into this state; undefined for a cluster that was offline all along. */
  readonly since: Date | undefined;
  readonly agents: readonly { readonly instanceId: InstanceId; readonly since: Date }[];
  /** Why it is degraded. */
  readonly reason: string | undefined;
}

/** Told when a cluster's state, or the reason it is degraded, changes. */
export type StateListener = (clusterId: ClusterId, state: ClusterState, reason: string | undefined) => void;

interface Entry {
  readonly tunnel: Tunnel;
  probe: ProbeState;
}

interface ClusterEntry {
  readonly entries: Entry[];
  state: ClusterState;
  since: Date | undefined;
  reason: string | undefined;
}

/** Which tunnels lead to which cluster, and how well. Lives and ends with the process. */
export class Registry {
  readonly #clusters = new Map<ClusterId, ClusterEntry>();
  readonly #now: () => number;
  readonly #onState: StateListener;
  readonly #onChange: () => void;

  /** @param deps `onChange` is told when a tunnel comes or goes, or its probe finds something else. */
  constructor(deps: {
    readonly now: () => number;
    readonly onState: StateListener;
    readonly onChange?: () => void;
  }) {
    this.#now = deps.now;
    this.#onState = deps.onState;
    this.#onChange = deps.onChange ?? (() => undefined);
  }

  add(tunnel: Tunnel): void {
    const cluster = this.#clusters.get(tunnel.clusterId) ?? newCluster();
    this.#clusters.set(tunnel.clusterId, cluster);
    cluster.entries.push({ tunnel, probe: { kind: "pending" } });
    this.#onChange();
    this.#update(tunnel.clusterId, cluster);
  }

  remove(tunnel: Tunnel): void {
    const cluster = this.#clusters.get(tunnel.clusterId);
    const index = cluster?.entries.findIndex((entry) => entry.tunnel === tunnel) ?? -1;
    if (cluster === undefined || index < 0) return;
    cluster.entries.splice(index, 1);
    this.#onChange();
    this.#update(tunnel.clusterId, cluster);
  }

  /** Notes that a tunnel takes no more streams: it drains. */
  drains(tunnel: Tunnel): void {
    const cluster = this.#clusters.get(tunnel.clusterId);
    this.#onChange();
    if (cluster !== undefined) this.#update(tunnel.clusterId, cluster);
  }

  /** Notes what a probe through the tunnel found. */
  probed(tunnel: Tunnel, probe: ProbeState): void {
    const cluster = this.#clusters.get(tunnel.clusterId);
    const entry = cluster?.entries.find((candidate) => candidate.tunnel === tunnel);
    if (cluster === undefined || entry === undefined) return;
    const isNews = entry.probe.kind !== probe.kind;
    entry.probe = probe;
    if (isNews) this.#onChange();
    this.#update(tunnel.clusterId, cluster);
  }

  /** The tunnel for a new stream: one whose probe passed before others, then the one with the fewest streams. */
  pick(clusterId: ClusterId): Tunnel | undefined {
    const entries = this.#clusters.get(clusterId)?.entries ?? [];
    const rank = ({ probe }: Entry): number => (probe.kind === "passed" ? 0 : 1);
    return entries.filter(takesStreams).toSorted((a, b) => rank(a) - rank(b) || openStreamsOf(a) - openStreamsOf(b))[0]
      ?.tunnel;
  }

  /** The newest tunnel of one agent replica: where a stream that it holds is resumed. */
  find(clusterId: ClusterId, instanceId: InstanceId): Tunnel | undefined {
    const entries = this.#clusters.get(clusterId)?.entries ?? [];
    return entries.findLast((entry) => entry.tunnel.instanceId === instanceId && takesStreams(entry))?.tunnel;
  }

  view(clusterId: ClusterId): ClusterView {
    const cluster = this.#clusters.get(clusterId);
    if (cluster === undefined) return { state: "offline", since: undefined, agents: [], reason: undefined };
    const oldest = new Map<InstanceId, Date>();
    for (const { tunnel } of cluster.entries) {
      if (!oldest.has(tunnel.instanceId)) oldest.set(tunnel.instanceId, tunnel.since);
    }
    return {
      state: cluster.state,
      since: cluster.since,
      agents: [...oldest].map(([instanceId, since]) => ({ instanceId, since })),
      reason: cluster.reason,
    };
  }

  /** A cluster's tunnels, each with what the last probe through it found. */
  probes(clusterId: ClusterId): readonly { readonly tunnel: Tunnel; readonly probe: ProbeState }[] {
    return this.#clusters.get(clusterId)?.entries ?? [];
  }

  /** Tunnels that take streams, each with what the last probe through it found. */
  entries(): readonly { readonly tunnel: Tunnel; readonly probe: ProbeState }[] {
    return [...this.#clusters.values()].flatMap(({ entries }) => entries.filter(takesStreams));
  }

  /** How many clusters are in a state. */
  count(state: ClusterState): number {
    return [...this.#clusters.values()].filter((cluster) => cluster.state === state).length;
  }

  tunnels(): readonly Tunnel[] {
    return [...this.#clusters.values()].flatMap(({ entries }) => entries.map(({ tunnel }) => tunnel));
  }

  #update(clusterId: ClusterId, cluster: ClusterEntry): void {
    const state = clusterStateOf(cluster.entries.filter(takesStreams).map(({ probe }) => probe));
    const reason = state === "degraded" ? reasonOf(cluster) : undefined;
    if (state === cluster.state && reason === cluster.reason) return;
    if (state !== cluster.state) cluster.since = new Date(this.#now());
    cluster.state = state;
    cluster.reason = reason;
    this.#onState(clusterId, state, reason);
  }
}

function newCluster(): ClusterEntry {
  return { entries: [], state: "offline", since: undefined, reason: undefined };
}

function takesStreams({ tunnel }: Entry): boolean {
  return tunnel.session.state === "open";
}

function openStreamsOf({ tunnel }: Entry): number {
  return tunnel.session.counters.openStreams;
}

function reasonOf({ entries }: ClusterEntry): string | undefined {
  const failed = entries.map(({ probe }) => probe).find((probe) => probe.kind === "failed");
  return failed?.reason;
}
