import type { SchemaModule, Transaction } from "kysely";
import type { Database } from "../schema.ts";

/** Tables that several relays and their administrators share. */
export async function createServiceTables(transaction: Transaction<Database>): Promise<void> {
  const { schema } = transaction;
  await schema
    .alterTable("clusters")
    .addColumn("labels", "text", (column) => column.notNull().defaultTo("{}"))
    .execute();
  await schema
    .alterTable("agent_keys")
    .addColumn("added_by", "text", (column) => column.notNull().defaultTo("enrollment"))
    .execute();
  await schema.createIndex("agent_keys_by_cluster").on("agent_keys").column("cluster_id").execute();
  await extendEnrollment(transaction);
  await createGrants(schema);
  await createRelays(schema);
  await createTunnels(schema);
  await createSessions(schema);
  await extendAudit(schema);
}

async function extendEnrollment(transaction: Transaction<Database>): Promise<void> {
  const codes = (): ReturnType<SchemaModule["alterTable"]> => transaction.schema.alterTable("enrollment_codes");
  await codes()
    .addColumn("max_uses", "integer", (column) => column.notNull().defaultTo(1))
    .execute();
  await codes()
    .addColumn("uses", "integer", (column) => column.notNull().defaultTo(0))
    .execute();
  await codes().addColumn("revoked_at", "text").execute();
  await codes()
    .addColumn("created_by", "text", (column) => column.notNull().defaultTo("operator"))
    .execute();
  await transaction.schema
    .createTable("enrollment_uses")
    .addColumn("code_hash", "text", (column) => column.notNull().references("enrollment_codes.code_hash"))
    .addColumn("key_id", "text", (column) => column.notNull())
    .addColumn("used_at", "text", (column) => column.notNull())
    .addPrimaryKeyConstraint("enrollment_uses_key", ["code_hash", "key_id"])
    .execute();
  await transaction.updateTable("enrollment_codes").set({ uses: 1 }).where("used_by_key_id", "is not", null).execute();
  const used = await transaction
    .selectFrom("enrollment_codes")
    .select(["code_hash", "used_by_key_id", "used_at", "created_at"])
    .where("used_by_key_id", "is not", null)
    .execute();
  for (const { code_hash, used_by_key_id, used_at, created_at } of used) {
    if (used_by_key_id === null) continue;
    const values = { code_hash, key_id: used_by_key_id, used_at: used_at ?? created_at };
    await transaction.insertInto("enrollment_uses").values(values).execute();
  }
}

async function createGrants(schema: SchemaModule): Promise<void> {
  await schema
    .createTable("grants")
    .addColumn("id", "text", (column) => column.primaryKey())
    .addColumn("created_at", "text", (column) => column.notNull())
    .addColumn("created_by", "text", (column) => column.notNull())
    .addColumn("expires_at", "text")
    .addColumn("spec", "text", (column) => column.notNull())
    .execute();
}

async function createRelays(schema: SchemaModule): Promise<void> {
  await schema
    .createTable("relays")
    .addColumn("id", "text", (column) => column.primaryKey())
    .addColumn("address", "text", (column) => column.notNull())
    .addColumn("software", "text", (column) => column.notNull())
    .addColumn("started_at", "text", (column) => column.notNull())
    .addColumn("lease_until", "text", (column) => column.notNull())
    .addColumn("draining_at", "text")
    .execute();
}

/** Rows of a relay go with it. No reference to clusters: a tunnel is a fact, not a permission. */
async function createTunnels(schema: SchemaModule): Promise<void> {
  await schema
    .createTable("tunnels")
    .addColumn("id", "text", (column) => column.primaryKey())
    .addColumn("cluster_id", "text", (column) => column.notNull())
    .addColumn("agent_instance_id", "text", (column) => column.notNull())
    .addColumn("key_id", "text", (column) => column.notNull())
    .addColumn("relay_id", "text", (column) => column.notNull().references("relays.id").onDelete("cascade"))
    .addColumn("since", "text", (column) => column.notNull())
    .addColumn("software", "text", (column) => column.notNull())
    .addColumn("address", "text")
    .addColumn("open_streams", "integer", (column) => column.notNull())
    .addColumn("probe", "text", (column) => column.notNull())
    .addColumn("probe_at", "text")
    .addColumn("probe_reason", "text")
    .execute();
  await schema.createIndex("tunnels_by_cluster").on("tunnels").column("cluster_id").execute();
  await schema.createIndex("tunnels_by_relay").on("tunnels").column("relay_id").execute();
}

async function createSessions(schema: SchemaModule): Promise<void> {
  await schema
    .createTable("sessions")
    .addColumn("id", "text", (column) => column.primaryKey())
    .addColumn("relay_id", "text", (column) => column.notNull().references("relays.id").onDelete("cascade"))
    .addColumn("issuer", "text", (column) => column.notNull())
    .addColumn("subject", "text", (column) => column.notNull())
    .addColumn("username", "text", (column) => column.notNull())
    .addColumn("address", "text")
    .addColumn("software", "text", (column) => column.notNull())
    .addColumn("since", "text", (column) => column.notNull())
    .addColumn("expires_at", "text", (column) => column.notNull())
    .addColumn("clusters", "text", (column) => column.notNull())
    .addColumn("updated_at", "text", (column) => column.notNull())
    .addColumn("end_requested_at", "text")
    .execute();
  await schema.createIndex("sessions_by_relay").on("sessions").column("relay_id").execute();
}

async function extendAudit(schema: SchemaModule): Promise<void> {
  await schema.alterTable("audit").addColumn("chain", "text").execute();
  await schema.alterTable("audit").addColumn("sequence", "bigint").execute();
  await schema.alterTable("audit").addColumn("previous_hash", "text").execute();
  await schema.alterTable("audit").addColumn("hash", "text").execute();
  await schema.createIndex("audit_by_chain").on("audit").columns(["chain", "sequence"]).unique().execute();
}
