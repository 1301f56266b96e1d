import { type InstanceId, parseClusterId } from "@cluster-connect/protocol";
import type { Kysely } from "kysely";
import { z } from "zod";
import type { Labels } from "../grants/label-selector.ts";
import type { Registry } from "../registry.ts";
import type { Database } from "../store/schema.ts";
import type { Store } from "../store/store.ts";

/** How administrators see a cluster. `Connected` needs an answer from the cluster's own kube-apiserver. */
export type AdminState = "Connecting" | "Connected" | "Offline" | "Expired";

/** A cluster with all that is known about it, at whichever relay. */
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
  readonly agents: readonly AgentRecord[];
}

export interface AgentRecord {
  readonly instanceId: string;
  readonly relayId: string;
  readonly keyId: string;
  readonly since: string;
  readonly probe: string;
}

/** The store, and what this relay knows itself. */
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
  let query = db
    .selectFrom("clusters")
    .select(["id", "labels", "disabled_at", "created_at", "last_seen_at"])
    .where("id", ">", page.after ?? "");
  if (page.id !== undefined) query = query.where("id", "=", page.id);
  const clusters = await query.orderBy("id").limit(page.limit).execute();
  if (clusters.length === 0) return [];
  const ids = clusters.map(({ id }) => id);
  const found = await readTies(db, ids, now);
  return clusters.map((row) => {
    const agents = agentsOf(row.id, found.tunnels, deps);
    const [validKeys, openCodes] = [found.keys.get(row.id) ?? 0, found.codes.get(row.id) ?? 0];
    const lastSeenAt = agents.length > 0 ? now.toISOString() : row.last_seen_at;
    return {
      id: row.id,
      labels: LABELS.parse(JSON.parse(row.labels)),
      disabled: row.disabled_at !== null,
      status: stateOf(agents, validKeys + openCodes > 0),
      reason: agents.find(({ reason }) => reason !== null)?.reason ?? null,
      createdAt: row.created_at,
      lastSeenAt,
      lastSeenSeconds: lastSeenAt === null ? null : Math.floor((now.getTime() - Date.parse(lastSeenAt)) / 1_000),
      validKeys,
      agents: agents.map(({ reason: _, ...agent }) => agent),
    };
  });
}

interface Tie extends AgentRecord {
  readonly clusterId: string;
  readonly reason: string | null;
}

/** Expired: offline, and nothing is left with which it could come back. */
function stateOf(agents: readonly AgentRecord[], mayReturn: boolean): AdminState {
  if (agents.some(({ probe }) => probe === "passed")) return "Connected";
  if (agents.length > 0) return "Connecting";
  return mayReturn ? "Offline" : "Expired";
}

/** This relay's own tunnels as they are now, and those that other relays wrote down. */
function agentsOf(clusterId: string, stored: readonly Tie[], deps: RecordDeps): readonly Omit<Tie, "clusterId">[] {
  const own = deps.registry.probes(parseClusterId(clusterId)).map(({ tunnel, probe }) => ({
    ...{ instanceId: tunnel.instanceId, relayId: deps.instanceId, keyId: tunnel.keyId },
    ...{ since: tunnel.since.toISOString(), probe: probe.kind },
    reason: probe.kind === "failed" ? probe.reason : null,
  }));
  const others = stored.filter((tie) => tie.clusterId === clusterId && tie.relayId !== deps.instanceId);
  return [...own, ...others.map(({ clusterId: _, ...tie }) => tie)];
}

async function readTies(
  db: Kysely<Database>,
  ids: readonly string[],
  now: Date,
): Promise<{
  readonly tunnels: readonly Tie[];
  readonly keys: ReadonlyMap<string, number>;
  readonly codes: ReadonlyMap<string, number>;
}> {
  const at = now.toISOString();
  const tunnels = await db
    .selectFrom("tunnels")
    .innerJoin("relays", "relays.id", "tunnels.relay_id")
    .select(["cluster_id", "agent_instance_id", "relay_id", "key_id", "since", "probe", "probe_reason"])
    .where("cluster_id", "in", ids)
    .where("relays.lease_until", ">", at)
    .orderBy("since")
    .execute();
  const keys = await db
    .selectFrom("agent_keys")
    .select(({ fn }) => ["cluster_id", fn.countAll().as("count")])
    .where("cluster_id", "in", ids)
    .where("revoked_at", "is", null)
    .groupBy("cluster_id")
    .execute();
  const codes = await db
    .selectFrom("enrollment_codes")
    .select(({ fn }) => ["cluster_id", fn.countAll().as("count")])
    .where("cluster_id", "in", ids)
    .where("expires_at", ">", at)
    .where("revoked_at", "is", null)
    .whereRef("uses", "<", "max_uses")
    .groupBy("cluster_id")
    .execute();
  return {
    tunnels: tunnels.map((row) => ({
      ...{ clusterId: row.cluster_id, instanceId: row.agent_instance_id, relayId: row.relay_id },
      ...{ keyId: row.key_id, since: row.since, probe: row.probe, reason: row.probe_reason },
    })),
    keys: new Map(keys.map(({ cluster_id, count }) => [cluster_id, Number(count)])),
    codes: new Map(codes.map(({ cluster_id, count }) => [cluster_id, Number(count)])),
  };
}
