import { type ClusterId, type InstanceId, parseClusterId, parseInstanceId } from "@cluster-connect/protocol";
import type { ProbeState } from "../../status/state.ts";
import { batches } from "../batches.ts";
import type { Store } from "../store.ts";

/** A tunnel as its relay tells the others about it. */
export interface StoredTunnel {
  readonly clusterId: ClusterId;
  readonly agentInstanceId: InstanceId;
  /** Killed agents whose place this one took. */
  readonly follows: readonly InstanceId[];
  readonly relayId: InstanceId;
  readonly since: Date;
  readonly openStreams: number;
  /** Result of the last probe through it. */
  readonly probe: ProbeState;
}

/** A row of the table, without the relay. */
export interface TunnelRow {
  readonly id: string;
  readonly cluster_id: string;
  readonly agent_instance_id: string;
  readonly follows: string;
  readonly key_id: string;
  readonly since: string;
  readonly software: string;
  readonly address: string | null;
  readonly open_streams: number;
  readonly probe: string;
  readonly probe_at: string | null;
  readonly probe_reason: string | null;
}

export interface TunnelChanges {
  readonly added: readonly TunnelRow[];
  readonly changed: readonly TunnelRow[];
  readonly removed: readonly string[];
}

/** Writes the changes of a relay's tunnels, all of them or none. */
export async function writeTunnels(store: Store, relayId: InstanceId, changes: TunnelChanges): Promise<void> {
  await store.db.transaction().execute(async (transaction) => {
    for (const ids of batches(changes.removed)) {
      await transaction.deleteFrom("tunnels").where("id", "in", ids).execute();
    }
    const rows = [...changes.added, ...changes.changed].map((row) => ({ ...row, relay_id: relayId }));
    for (const batch of batches(rows)) {
      await transaction
        .insertInto("tunnels")
        .values(batch)
        .onConflict((conflict) =>
          conflict.column("id").doUpdateSet(({ ref }) => ({
            open_streams: ref("excluded.open_streams"),
            probe: ref("excluded.probe"),
            probe_at: ref("excluded.probe_at"),
            probe_reason: ref("excluded.probe_reason"),
          })),
        )
        .execute();
    }
  });
}

/** How a row tells a probe. @param at the moment of it, where it is known. */
export function storedProbe(kind: string, reason: string | null, at: string | null): ProbeState {
  const when = new Date(at ?? 0);
  if (kind === "passed") return { kind, at: when };
  return kind === "failed" ? { kind, at: when, reason: reason ?? "" } : { kind: "pending" };
}

/** Every tunnel of relays whose lease holds by the database's clock. */
export async function listTunnels(store: Store): Promise<readonly StoredTunnel[]> {
  const rows = await store.db
    .selectFrom("tunnels")
    .innerJoin("relays", "relays.id", "tunnels.relay_id")
    .select(["tunnels.cluster_id", "tunnels.agent_instance_id", "tunnels.relay_id"])
    .select(["tunnels.open_streams", "tunnels.follows", "tunnels.since"])
    .select(["tunnels.probe", "tunnels.probe_reason", "tunnels.probe_at"])
    .where("relays.lease_until", ">", store.dialect.now)
    .execute();
  return rows.map((row) => ({
    clusterId: parseClusterId(row.cluster_id),
    agentInstanceId: parseInstanceId(row.agent_instance_id),
    follows: row.follows.split(" ").filter(Boolean).map(parseInstanceId),
    relayId: parseInstanceId(row.relay_id),
    since: new Date(row.since),
    openStreams: row.open_streams,
    probe: storedProbe(row.probe, row.probe_reason, row.probe_at),
  }));
}
