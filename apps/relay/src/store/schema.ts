import type { Generated } from "kysely";

/** Times are ISO 8601 in UTC with milliseconds as text, which sorts by time and reads the same in every database. */
export type TimeText = string;

/** A JSON document as text; its reader parses it. */
export type JsonText = string;

export interface SchemaMigrationsTable {
  readonly version: number;
  readonly applied_at: TimeText;
}

export interface SettingsTable {
  readonly name: string;
  readonly value: string;
}

export interface ClustersTable {
  readonly id: string;
  readonly created_at: TimeText;
  /** PEM of the authorities that sign the cluster's serving certificate; null until an agent told them. */
  readonly authorities: string | null;
  readonly authorities_at: TimeText | null;
  /** Signatures of a fleet key over {@link authorities}, separated by blanks; verified by callers, not here. */
  readonly authority_signatures: string | null;
  /** PEM of those that an agent announced later and no administrator has accepted yet. */
  readonly pending_authorities: string | null;
  readonly pending_authorities_at: TimeText | null;
  /** UID of the cluster's own that counts; null until an agent told it. */
  readonly cluster_uid: string | null;
  /** Key that came with a code since and has told no UID yet: the one it tells counts. */
  readonly cluster_uid_by: string | null;
  /** UID of another cluster that came with a key of this one and waits for an administrator. */
  readonly pending_cluster_uid: string | null;
  readonly pending_cluster_uid_at: TimeText | null;
  /** UIDs that an administrator refused, separated by blanks, the latest last. */
  readonly refused_cluster_uids: string | null;
  readonly last_seen_at: TimeText | null;
  readonly disabled_at: TimeText | null;
  /** JSON object of names and values, as Kubernetes' labels. */
  readonly labels: Generated<JsonText>;
}

export interface AgentKeysTable {
  /** Base64url SHA-256 of the public key. */
  readonly key_id: string;
  readonly cluster_id: string;
  /** SubjectPublicKeyInfo, PEM. */
  readonly public_key: string;
  readonly created_at: TimeText;
  readonly last_used_at: TimeText | null;
  readonly revoked_at: TimeText | null;
  /** Source that let it in: `enrollment`, `operator`, or the id of the key that it replaces. */
  readonly added_by: Generated<string>;
  /** Of a key that a rotation let in: without a use until then it is dropped. */
  readonly activate_by: TimeText | null;
}

export interface EnrollmentCodesTable {
  /** The code itself is never stored. */
  readonly code_hash: string;
  readonly cluster_id: string;
  readonly created_at: TimeText;
  readonly expires_at: TimeText;
  /** The last use. */
  readonly used_at: TimeText | null;
  readonly used_by_key_id: string | null;
  readonly max_uses: Generated<number>;
  readonly uses: Generated<number>;
  readonly revoked_at: TimeText | null;
  /** Maker of the code: a username, or `operator` for the command line. */
  readonly created_by: Generated<string>;
}

/** Which keys a code let in. */
export interface EnrollmentUsesTable {
  readonly code_hash: string;
  readonly key_id: string;
  readonly used_at: TimeText;
}

export interface GrantsTable {
  readonly id: string;
  readonly created_at: TimeText;
  readonly created_by: string;
  /** After it the grant counts for nothing; null for never. */
  readonly expires_at: TimeText | null;
  /** Callers, and the clusters that they may reach. */
  readonly spec: JsonText;
}

/** A relay that runs, or ran a short time ago. */
export interface RelaysTable {
  /** Its instance id, new with each start. */
  readonly id: string;
  /** `host:port` at which its peers reach it; empty when it takes none. */
  readonly address: string;
  readonly software: string;
  readonly started_at: TimeText;
  /** By the database's clock. The row counts until then. */
  readonly lease_until: TimeText;
  /** When it began to drain: it takes no new stream. */
  readonly draining_at: TimeText | null;
}

/** An agent's tunnel to a relay; worth as much as the relay's lease. */
export interface TunnelsTable {
  /** Its session id. */
  readonly id: string;
  readonly cluster_id: string;
  readonly agent_instance_id: string;
  /** Instance ids of killed agents whose place this one took, separated by spaces. */
  readonly follows: Generated<string>;
  readonly key_id: string;
  readonly relay_id: string;
  readonly since: TimeText;
  readonly software: string;
  /** The agent's address as the relay saw it; null when it is not known. */
  readonly address: string | null;
  readonly open_streams: number;
  /** `pending`, `passed` or `failed`. */
  readonly probe: string;
  readonly probe_at: TimeText | null;
  /** Why the probe failed. */
  readonly probe_reason: string | null;
}

/** A caller's session with a relay; worth as much as the relay's lease. */
export interface SessionsTable {
  readonly id: string;
  readonly relay_id: string;
  readonly issuer: string;
  readonly subject: string;
  readonly username: string;
  readonly address: string | null;
  readonly software: string;
  readonly since: TimeText;
  /** When the token does that opened it. */
  readonly expires_at: TimeText;
  /** JSON object: bytes so far, and streams and bytes by cluster. */
  readonly clusters: JsonText;
  readonly updated_at: TimeText;
  /** Set by any process; its relay ends it. */
  readonly end_requested_at: TimeText | null;
}

export interface AuditTable {
  readonly id: Generated<number>;
  readonly at: TimeText;
  readonly event: string;
  /** The actor: a username, `operator` for the command line, or an agent's key id. */
  readonly actor: string;
  /** Issuer and subject of the token of an actor that has one. */
  readonly issuer: string | null;
  readonly subject: string | null;
  readonly cluster_id: string | null;
  /** JSON object of ids and reasons; never a secret. */
  readonly detail: JsonText;
  /** The chain this row is part of; null for rows of before there were chains. */
  readonly chain: string | null;
  /** Its place in the chain, from 1 without a gap. */
  readonly sequence: number | null;
  /** Of the row before it in the chain. */
  readonly previous_hash: string | null;
  readonly hash: string | null;
}

/** Relay processes that run, or ended without a word. */
interface RelayRunsTable {
  readonly run: string;
  /** By the clock of the database. */
  readonly seen_at: TimeText;
}

/** Ends of streams and sessions that are open: the audit's entry, but for when and how. */
interface OpenEndsTable {
  readonly id: string;
  readonly run: string;
  readonly entry: JsonText;
  readonly up_bytes: number;
  readonly down_bytes: number;
}

/** Agents that had to make way for newer ones with the same key. */
export interface SupersededAgentsTable {
  readonly agent_instance_id: string;
  readonly key_id: string;
  readonly at: TimeText;
}

/** How a cluster was found last, by the tunnels of all relays. */
export interface ClusterStatusTable {
  readonly cluster_id: string;
  readonly status: string;
  /** Which hop is missing, when degraded. */
  readonly reason: string | null;
  readonly at: TimeText;
  /** One more with each change; a writer that finds it as it was may change it. */
  readonly version: number;
}

/** A message about a change of status that the webhook has not taken yet. */
export interface StatusDeliveriesTable {
  readonly id: string;
  /** The relay that sends it; another one takes over when its lease has ended. */
  readonly relay_id: string;
  readonly body: JsonText;
  readonly at: TimeText;
}

/** Every table of the newest schema. */
export interface Database {
  readonly schema_migrations: SchemaMigrationsTable;
  readonly settings: SettingsTable;
  readonly clusters: ClustersTable;
  readonly agent_keys: AgentKeysTable;
  readonly enrollment_codes: EnrollmentCodesTable;
  readonly enrollment_uses: EnrollmentUsesTable;
  readonly grants: GrantsTable;
  readonly relays: RelaysTable;
  readonly tunnels: TunnelsTable;
  readonly sessions: SessionsTable;
  readonly audit: AuditTable;
  readonly relay_runs: RelayRunsTable;
  readonly open_ends: OpenEndsTable;
  readonly superseded_agents: SupersededAgentsTable;
  readonly cluster_status: ClusterStatusTable;
  readonly status_deliveries: StatusDeliveriesTable;
}
