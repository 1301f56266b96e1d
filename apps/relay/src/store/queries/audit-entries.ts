import type { Kysely } from "kysely";
import type { Database } from "../schema.ts";
import { AUDIT_CHAIN } from "./audit.ts";
import type { ChainedEntry, ChainHead } from "./audit-chain.ts";
import { SEALED_EVENT } from "./audit-seals.ts";

/** Filter of the audit's entries. */
export interface AuditQuery {
  /** Only entries after this one. */
  readonly after?: number | undefined;
  /** Only entries before this one; the newest come first then. */
  readonly before?: number | undefined;
  readonly event?: string | undefined;
  /** Username, or the name of another actor. */
  readonly actor?: string | undefined;
  readonly issuer?: string | undefined;
  readonly subject?: string | undefined;
  readonly clusterId?: string | undefined;
  readonly limit: number;
}

/** Entries of the chain: in order after `after`, else the newest first. */
export async function readAuditEntries(db: Kysely<Database>, query: AuditQuery): Promise<readonly ChainedEntry[]> {
  const { after, before, event, actor, issuer, subject, clusterId, limit } = query;
  let rows = db.selectFrom("audit").selectAll().where("chain", "=", AUDIT_CHAIN).limit(limit);
  if (after !== undefined) rows = rows.where("sequence", ">", after);
  if (before !== undefined) rows = rows.where("sequence", "<", before);
  if (event !== undefined) rows = rows.where("event", "=", event);
  if (actor !== undefined) rows = rows.where("actor", "=", actor);
  if (issuer !== undefined) rows = rows.where("issuer", "=", issuer);
  if (subject !== undefined) rows = rows.where("subject", "=", subject);
  if (clusterId !== undefined) rows = rows.where("cluster_id", "=", clusterId);
  const found = await rows.orderBy("sequence", after === undefined ? "desc" : "asc").execute();
  return found.map((row) => ({
    chain: row.chain ?? "",
    sequence: Number(row.sequence),
    at: row.at,
    event: row.event,
    actor: { issuer: row.issuer, subject: row.subject, username: row.actor },
    clusterId: row.cluster_id,
    detail: row.detail,
    previousHash: row.previous_hash ?? "",
    hash: row.hash ?? "",
  }));
}

/** An entry as the chain goes on from it; undefined when it is not there. */
export async function readHeadAt(db: Kysely<Database>, sequence: number): Promise<ChainHead | undefined> {
  const row = await db
    .selectFrom("audit")
    .select("hash")
    .where("chain", "=", AUDIT_CHAIN)
    .where("sequence", "=", sequence)
    .executeTakeFirst();
  return row === undefined ? undefined : { sequence, hash: row.hash ?? "" };
}

/** Entries after a sealed head, but for those that hold seals themselves. */
export interface UnsealedEntries {
  readonly entries: number;
  /** When the first of them was made. */
  readonly since: string | undefined;
}

export async function readUnsealed(db: Kysely<Database>, sealedUpTo: number): Promise<UnsealedEntries> {
  const row = await db
    .selectFrom("audit")
    .select(({ fn }) => [fn.countAll().as("entries"), fn.min("at").as("since")])
    .where("chain", "=", AUDIT_CHAIN)
    .where("sequence", ">", sealedUpTo)
    .where("event", "!=", SEALED_EVENT)
    .executeTakeFirst();
  return { entries: Number(row?.entries ?? 0), since: row?.since ?? undefined };
}
