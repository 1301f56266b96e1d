import { type ClusterId, type InstanceId, parseClusterId, parseInstanceId } from "@cluster-connect/protocol";
import type { Store } from "../store.ts";

/** A tunnel as its relay tells the others about it. */
export interface StoredTunnel {
  readonly clusterId: ClusterId;
  readonly agentInstanceId: InstanceId;
  /** Killed agents whose place this one took. */
  readonly follows: readonly InstanceId[];
  readonly relayId: InstanceId;
  readonly openStreams: number;
  /** A probe through it came back from the cluster's kube-apiserver. */
  readonly passed: boolean;
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

const BATCH_SIZE = 500;

/** Writes the changes of a relay's tunnels, all of them or none. */
export async function writeTunnels(store: Store, relayId: InstanceId, changes: TunnelChanges): Promise<void> {
  await store.db.transaction().execute(async (transaction) => {
    for (let index = 0; index < changes.removed.length; index += BATCH_SIZE) {
      const ids = changes.removed.slice(index, index + BATCH_SIZE);
      await transaction.deleteFrom("tunnels").where("id", "in", ids).execute();
    }
    for (const row of changes.added) {
      await transaction
        .insertInto("tunnels")
        .values({ ...row, relay_id: relayId })
        .execute();
    }
    for (const { id, open_streams, probe, probe_at, probe_reason } of changes.changed) {
      const values = { open_streams, probe, probe_at, probe_reason };
      await transaction.updateTable("tunnels").set(values).where("id", "=", id).execute();
    }
  });
}

/** Every tunnel of relays whose lease holds by the database's clock. */
export async function listTunnels(store: Store): Promise<readonly StoredTunnel[]> {
  const rows = await store.db
    .selectFrom("tunnels")
    .innerJoin("relays", "relays.id", "tunnels.relay_id")
    .select(["tunnels.cluster_id", "tunnels.agent_instance_id", "tunnels.relay_id"])
    .select(["tunnels.open_streams", "tunnels.probe", "tunnels.follows"])
    .where("relays.lease_until", ">", store.dialect.now)
    .execute();
  return rows.map(({ cluster_id, agent_instance_id, relay_id, open_streams, probe, follows }) => ({
    clusterId: parseClusterId(cluster_id),
    agentInstanceId: parseInstanceId(agent_instance_id),
    follows: follows.split(" ").filter(Boolean).map(parseInstanceId),
    relayId: parseInstanceId(relay_id),
    openStreams: open_streams,
    passed: probe === "passed",
  }));
}
