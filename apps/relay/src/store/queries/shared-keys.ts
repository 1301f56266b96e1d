import { type InstanceId, type KeyId, parseInstanceId } from "@cluster-connect/protocol";
import type { Kysely } from "kysely";
import type { Database } from "../schema.ts";
import type { Store } from "../store.ts";

/** A running agent and since when it has had a tunnel. */
export interface KeyUser {
  readonly agentInstanceId: InstanceId;
  readonly since: Date;
  /** As relays saw it; null when no relay knows. */
  readonly address: string | null;
}

/** After this an instance id means nothing any more: each start makes a new one. */
const KEEP_MS = 30 * 86_400_000;

/** The agents with tunnels by a key at any relay whose lease holds, oldest first. */
export async function listKeyUsers(store: Store, keyId: KeyId): Promise<readonly KeyUser[]> {
  const rows = await store.db
    .selectFrom("tunnels")
    .innerJoin("relays", "relays.id", "tunnels.relay_id")
    .select(({ fn }) => [
      "tunnels.agent_instance_id",
      fn.min("tunnels.since").as("since"),
      fn.max("tunnels.address").as("address"),
    ])
    .where("tunnels.key_id", "=", keyId)
    .where("relays.lease_until", ">", store.dialect.now)
    .groupBy("tunnels.agent_instance_id")
    .orderBy("since")
    .execute();
  return rows.map(({ agent_instance_id, since, address }) => ({
    agentInstanceId: parseInstanceId(agent_instance_id),
    since: new Date(since),
    address,
  }));
}

/** Notes that these agents have to make way, wherever they come next. */
export async function supersedeAgents(
  db: Kysely<Database>,
  keyId: KeyId,
  agents: readonly InstanceId[],
  now: Date,
): Promise<void> {
  if (agents.length === 0) return;
  const at = now.toISOString();
  const values = agents.map((agent_instance_id) => ({ agent_instance_id, key_id: keyId, at }));
  await db
    .insertInto("superseded_agents")
    .values(values)
    .onConflict((conflict) => conflict.columns(["key_id", "agent_instance_id"]).doNothing())
    .execute();
  const old = new Date(now.getTime() - KEEP_MS).toISOString();
  await db.deleteFrom("superseded_agents").where("at", "<", old).execute();
}

/**
 * Finds the agents among these that had to make way. An agent names itself, so its name counts with its key only. The
 * owner of another key cannot have this agent sent away.
 */
export async function findSuperseded(
  db: Kysely<Database>,
  keyId: KeyId,
  agents: readonly InstanceId[],
): Promise<ReadonlySet<InstanceId>> {
  if (agents.length === 0) return new Set();
  const rows = await db
    .selectFrom("superseded_agents")
    .select("agent_instance_id")
    .where("key_id", "=", keyId)
    .where("agent_instance_id", "in", agents)
    .execute();
  return new Set(rows.map(({ agent_instance_id }) => parseInstanceId(agent_instance_id)));
}
