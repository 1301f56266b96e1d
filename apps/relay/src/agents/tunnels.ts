import type { ClusterState } from "@cluster-connect/api";
import type { Session } from "@cluster-connect/framing";
import type { ClusterId, ClusterUid, InstanceId, KeyId, SessionId } from "@cluster-connect/protocol";
import { clusterStateOf, type ProbeState, reasonOf } from "../status/state.ts";

/** An agent's tunnel to this relay. */
export interface Tunnel {
  readonly clusterId: ClusterId;
  readonly instanceId: InstanceId;
  readonly keyId: KeyId;
  /** The cluster's own UID, where the agent told it. */
  readonly clusterUid?: ClusterUid | undefined;
  readonly sessionId: SessionId;
  readonly session: Session;
  readonly since: Date;
  /** Agents that were killed, and whose place this one took. */
  readonly follows: readonly InstanceId[];
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
  /** Results of the last probe through each tunnel that takes streams. */
  readonly probes: readonly ProbeState[];
}

/** Told when a cluster's state, or the reason it is degraded, changes. */
export type StateListener = (clusterId: ClusterId, state: ClusterState, reason: string | undefined) => void;

interface TunnelEntry {
  readonly tunnel: Tunnel;
  probe: ProbeState;
  /** Authorities that its agent announced, PEM; undefined as long as they are not known. */
  announced: string | undefined;
  /** They wait for an administrator: clients do not accept them. */
  disputed: boolean;
}

interface ClusterEntry {
  readonly entries: TunnelEntry[];
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
    cluster.entries.push({ tunnel, probe: { kind: "pending" }, announced: undefined, disputed: false });
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

  /** Notes the result of a probe through the tunnel. */
  probed(tunnel: Tunnel, probe: ProbeState): void {
    const cluster = this.#clusters.get(tunnel.clusterId);
    const entry = cluster?.entries.find((candidate) => candidate.tunnel === tunnel);
    if (cluster === undefined || entry === undefined) return;
    const isNews = entry.probe.kind !== probe.kind;
    entry.probe = probe;
    if (isNews) this.#onChange();
    this.#update(tunnel.clusterId, cluster);
  }

  /** Notes the authorities that the tunnel's agent announced, and whether they wait to be accepted. */
  announced(tunnel: Tunnel, pem: string, disputed: boolean): void {
    const entry = this.#clusters.get(tunnel.clusterId)?.entries.find((candidate) => candidate.tunnel === tunnel);
    if (entry !== undefined) Object.assign(entry, { announced: pem, disputed });
  }

  /** Notes which authorities, in PEM, are accepted now: an administrator may have decided. */
  accepted(clusterId: ClusterId, pem: string | null): void {
    for (const entry of this.#clusters.get(clusterId)?.entries ?? []) {
      if (entry.announced !== undefined) entry.disputed = entry.announced !== pem;
    }
  }

  /** Whether an agent of the cluster announces authorities that wait to be accepted. */
  isDisputed(clusterId: ClusterId): boolean {
    return this.#clusters.get(clusterId)?.entries.some(({ disputed }) => disputed) ?? false;
  }

  /** Whether every tunnel of the cluster at this relay is one whose authorities wait. */
  isWhollyDisputed(clusterId: ClusterId): boolean {
    const open = (this.#clusters.get(clusterId)?.entries ?? []).filter(takesStreams);
    return open.length > 0 && open.every(({ disputed }) => disputed);
  }

  /**
   * The tunnel for a new stream: one whose agent told the cluster's UID before others, then one whose authorities are
   * accepted, then one whose probe passed, then the one with the fewest streams.
   */
  pick(clusterId: ClusterId): Tunnel | undefined {
    const entries = this.#clusters.get(clusterId)?.entries ?? [];
    const rank = ({ tunnel, probe, disputed }: TunnelEntry): number =>
      (tunnel.clusterUid === undefined ? 4 : 0) + (disputed ? 2 : 0) + (probe.kind === "passed" ? 0 : 1);
    return entries.filter(takesStreams).toSorted((a, b) => rank(a) - rank(b) || openStreamsOf(a) - openStreamsOf(b))[0]
      ?.tunnel;
  }

  /**
   * The newest tunnel of one agent replica: where a stream that it holds is resumed. The tunnel of a killed one is that
   * of the agent in its place, which says that the stream is over.
   */
  find(clusterId: ClusterId, instanceId: InstanceId): Tunnel | undefined {
    const entries = (this.#clusters.get(clusterId)?.entries ?? []).filter(takesStreams);
    const own = entries.findLast(({ tunnel }) => tunnel.instanceId === instanceId);
    return (own ?? entries.findLast(({ tunnel }) => tunnel.follows.includes(instanceId)))?.tunnel;
  }

  /** Tunnels of agents whose place this one took, where their end was not noticed yet. */
  followedBy({ clusterId, follows }: Tunnel): readonly Tunnel[] {
    const entries = this.#clusters.get(clusterId)?.entries ?? [];
    return entries.map(({ tunnel }) => tunnel).filter(({ instanceId }) => follows.includes(instanceId));
  }

  view(clusterId: ClusterId): ClusterView {
    const cluster = this.#clusters.get(clusterId);
    if (cluster === undefined) {
      return { state: "offline", since: undefined, agents: [], reason: undefined, probes: [] };
    }
    const oldest = new Map<InstanceId, Date>();
    for (const { tunnel } of cluster.entries) {
      if (!oldest.has(tunnel.instanceId)) oldest.set(tunnel.instanceId, tunnel.since);
    }
    return {
      state: cluster.state,
      since: cluster.since,
      agents: [...oldest].map(([instanceId, since]) => ({ instanceId, since })),
      reason: cluster.reason,
      probes: cluster.entries.filter(takesStreams).map(({ probe }) => probe),
    };
  }

  /** A cluster's tunnels, each with the result of its last probe. */
  probes(clusterId: ClusterId): readonly { readonly tunnel: Tunnel; readonly probe: ProbeState }[] {
    return this.#clusters.get(clusterId)?.entries ?? [];
  }

  /** Tunnels that take streams, each with the result of its last probe. */
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
    const probes = cluster.entries.filter(takesStreams).map(({ probe }) => probe);
    const state = clusterStateOf(probes);
    const reason = reasonOf(probes);
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

function takesStreams({ tunnel }: TunnelEntry): boolean {
  return tunnel.session.state === "open";
}

function openStreamsOf({ tunnel }: TunnelEntry): number {
  return tunnel.session.counters.openStreams;
}
