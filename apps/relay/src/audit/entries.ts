import type { Kysely } from "kysely";
import { AUDIT_CHAIN } from "../store/audit.ts";
import type { Database } from "../store/schema.ts";
import type { ChainedEntry } from "./chain.ts";

/** What to look for in the audit. */
export interface AuditQuery {
  /** Only entries after this one. */
  readonly after?: number | undefined;
  /** Only entries before this one; the newest come first then. */
  readonly before?: number | undefined;
  readonly event?: string | undefined;
  readonly actor?: string | undefined;
  readonly clusterId?: string | undefined;
  readonly limit: number;
}

/** Entries of the chain: in order after `after`, else the newest first. */
export async function readAuditEntries(db: Kysely<Database>, query: AuditQuery): Promise<readonly ChainedEntry[]> {
  const { after, before, event, actor, clusterId, limit } = query;
  let rows = db.selectFrom("audit").selectAll().where("chain", "=", AUDIT_CHAIN).limit(limit);
  if (after !== undefined) rows = rows.where("sequence", ">", after);
  if (before !== undefined) rows = rows.where("sequence", "<", before);
  if (event !== undefined) rows = rows.where("event", "=", event);
  if (actor !== undefined) rows = rows.where("actor", "=", actor);
  if (clusterId !== undefined) rows = rows.where("cluster_id", "=", clusterId);
  const found = await rows.orderBy("sequence", after === undefined ? "desc" : "asc").execute();
  return found.map((row) => ({
    chain: row.chain ?? "",
    sequence: Number(row.sequence),
    at: row.at,
    event: row.event,
    actor: row.actor,
    clusterId: row.cluster_id,
    detail: row.detail,
    previousHash: row.previous_hash ?? "",
    hash: row.hash ?? "",
  }));
}
