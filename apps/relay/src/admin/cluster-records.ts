import { type ClusterUid, type InstanceId, parseClusterId, parseClusterUid } from "@cluster-connect/protocol";
import { z } from "zod";
import { newFingerprints, parseAuthorities } from "../agents/authorities.ts";
import type { Registry } from "../agents/tunnels.ts";
import type { Labels } from "../grants/label-selector.ts";
import {
  type ClusterRow,
  type ClusterTie,
  listClusterRows,
  readClusterTies,
  type TunnelRecord,
} from "../store/queries/cluster-records.ts";
import type { Store } from "../store/store.ts";

/** How administrators see a cluster. `Connected` needs an answer from the cluster's own kube-apiserver. */
export type AdminState = "Connecting" | "Connected" | "Offline" | "Expired";

/** A cluster with all facts known about it, at any relay. */
export interface ClusterRecord {
  readonly id: string;
  readonly labels: Labels;
  readonly disabled: boolean;
  readonly status: AdminState;
  /** Which hop is missing while it is not connected, as far as a probe knows. */
  readonly reason: string | null;
  readonly createdAt: string;
  readonly lastSeenAt: string | null;
  readonly lastSeenSeconds: number | null;
  readonly validKeys: number;
  readonly fingerprint: string | null;
  /** Of authorities that wait to be accepted. */
  readonly pendingFingerprints: readonly string[];
  readonly pendingSince: string | null;
  /** Of the cluster that the name stands for. */
  readonly uid: ClusterUid | null;
  /** Of another cluster that claims the name. */
  readonly pendingUid: ClusterUid | null;
  readonly pendingUidSince: string | null;
  readonly agents: readonly TunnelRecord[];
}

/** The store, and this relay's own knowledge. */
export interface RecordDeps {
  readonly store: Store;
  readonly registry: Registry;
  readonly instanceId: InstanceId;
}

const LABELS = z.record(z.string(), z.string());

/** Clusters in the order of their ids. */
export async function readClusterRecords(
  deps: RecordDeps,
  now: Date,
  page: { readonly after?: string | undefined; readonly id?: string; readonly limit: number },
): Promise<readonly ClusterRecord[]> {
  const { db } = deps.store;
  const clusters = await listClusterRows(db, page);
  if (clusters.length === 0) return [];
  const ids = clusters.map(({ id }) => id);
  const found = await readClusterTies(db, ids, now);
  return clusters.map((row) => {
    const agents = agentsOf(row.id, found.tunnels, deps);
    const [validKeys, openCodes] = [found.keys.get(row.id) ?? 0, found.codes.get(row.id) ?? 0];
    const { labels, fingerprint, pendingFingerprints, uid, pendingUid, damage } = readRow(row);
    const lastSeenAt = agents.length > 0 ? now.toISOString() : row.last_seen_at;
    return {
      id: row.id,
      labels,
      disabled: row.disabled_at !== null,
      status: stateOf(agents, validKeys + openCodes > 0),
      reason: agents.find(({ reason }) => reason !== null)?.reason ?? damage,
      createdAt: row.created_at,
      lastSeenAt,
      lastSeenSeconds: lastSeenAt === null ? null : Math.floor((now.getTime() - Date.parse(lastSeenAt)) / 1_000),
      validKeys,
      fingerprint,
      pendingFingerprints,
      pendingSince: row.pending_authorities_at,
      uid,
      pendingUid,
      pendingUidSince: row.pending_cluster_uid_at,
      agents: agents.map(({ reason: _, ...agent }) => agent),
    };
  });
}

type RowParts = Pick<ClusterRecord, "labels" | "fingerprint" | "pendingFingerprints" | "uid" | "pendingUid"> & {
  /** Columns that cannot be read, as a reason; null where all can. */
  readonly damage: string | null;
};

/** One row that was damaged must not hide the others: what cannot be read is left out and told. */
function readRow({ labels, authorities, pending_authorities: pending, ...row }: ClusterRow): RowParts {
  const damaged: string[] = [];
  const read = <T>(column: string, parse: () => T, otherwise: T): T => {
    try {
      return parse();
    } catch {
      damaged.push(column);
      return otherwise;
    }
  };
  const readUid = (column: string, text: string | null): ClusterUid | null =>
    read(column, () => (text === null ? null : parseClusterUid(text)), null);
  const parts = {
    labels: read("labels", () => LABELS.parse(JSON.parse(labels)), {}),
    fingerprint: read(
      "authorities",
      () => (authorities === null ? null : parseAuthorities(authorities).fingerprint),
      null,
    ),
    pendingFingerprints: read(
      "pending authorities",
      () => (pending === null ? [] : newFingerprints(authorities, pending)),
      [],
    ),
    uid: readUid("cluster uid", row.cluster_uid),
    pendingUid: readUid("pending cluster uid", row.pending_cluster_uid),
  };
  return { ...parts, damage: damaged.length === 0 ? null : `damaged in the store: ${damaged.join(", ")}` };
}

/** Expired: offline, and nothing is left with which it could come back. */
function stateOf(agents: readonly TunnelRecord[], mayReturn: boolean): AdminState {
  if (agents.some(({ probe }) => probe === "passed")) return "Connected";
  if (agents.length > 0) return "Connecting";
  return mayReturn ? "Offline" : "Expired";
}

/** This relay's own tunnels as they are now, and those that other relays wrote down. */
function agentsOf(
  clusterId: string,
  stored: readonly ClusterTie[],
  deps: RecordDeps,
): readonly Omit<ClusterTie, "clusterId">[] {
  const own = deps.registry.probes(parseClusterId(clusterId)).map(({ tunnel, probe }) => ({
    instanceId: tunnel.instanceId,
    relayId: deps.instanceId,
    keyId: tunnel.keyId,
    since: tunnel.since.toISOString(),
    probe: probe.kind,
    reason: probe.kind === "failed" ? probe.reason : null,
  }));
  const others = stored.filter((tie) => tie.clusterId === clusterId && tie.relayId !== deps.instanceId);
  return [...own, ...others.map(({ clusterId: _, ...tie }) => tie)];
}
