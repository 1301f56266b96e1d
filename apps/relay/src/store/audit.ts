import type { ClusterId } from "@cluster-connect/protocol";
import type { Kysely } from "kysely";
import type { Database } from "./schema.ts";

/** Something worth remembering; other fields than these are its details and must not be secret. */
export interface AuditEntry {
  readonly event: string;
  readonly actor: string;
  readonly clusterId?: ClusterId;
  readonly at: Date;
  readonly [detail: string]: unknown;
}

/** Adds a line to the audit table; nothing changes or removes one. */
export async function recordAudit(db: Kysely<Database>, entry: AuditEntry): Promise<void> {
  const { event, actor, clusterId, at, ...detail } = entry;
  await db
    .insertInto("audit")
    .values({ at: at.toISOString(), event, actor, cluster_id: clusterId ?? null, detail: JSON.stringify(detail) })
    .execute();
}
