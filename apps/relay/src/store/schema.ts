import type { Generated } from "kysely";

/** Times are ISO 8601 in UTC as text, which sorts by time and reads the same in every database. */
export type TimeText = string;

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
  readonly last_seen_at: TimeText | null;
  readonly disabled_at: TimeText | null;
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
}

export interface EnrollmentCodesTable {
  /** The code itself is never stored. */
  readonly code_hash: string;
  readonly cluster_id: string;
  readonly created_at: TimeText;
  readonly expires_at: TimeText;
  readonly used_at: TimeText | null;
  readonly used_by_key_id: string | null;
}

export interface AuditTable {
  readonly id: Generated<number>;
  readonly at: TimeText;
  readonly event: string;
  /** Who did it: a username, `operator` for the command line, or an agent's key id. */
  readonly actor: string;
  readonly cluster_id: string | null;
  /** JSON object of ids and reasons; never a secret. */
  readonly detail: string;
}

/** Every table of the newest schema. */
export interface Database {
  readonly schema_migrations: SchemaMigrationsTable;
  readonly settings: SettingsTable;
  readonly clusters: ClustersTable;
  readonly agent_keys: AgentKeysTable;
  readonly enrollment_codes: EnrollmentCodesTable;
  readonly audit: AuditTable;
}
