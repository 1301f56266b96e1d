import type { Caller, ClusterId } from "@cluster-connect/protocol";
import type { Kysely, Transaction } from "kysely";
import type { Database } from "../schema.ts";
import { type ChainedActor, type ChainHead, chainEntry, EMPTY_CHAIN } from "./audit-chain.ts";

/** A verified caller; or the name alone of an actor without a token: `operator`, an agent's key id, a part of the relay. */
export type AuditActor = string | Pick<Caller, "issuer" | "subject" | "username">;

/** Something worth remembering; other fields than these are its details and must not be secret. */
export interface AuditEntry {
  readonly event: string;
  readonly actor: AuditActor;
  readonly clusterId?: ClusterId;
  readonly at: Date;
  readonly [detail: string]: unknown;
}

/** The one chain of a store, shared by all relays that write. */
export const AUDIT_CHAIN = "audit";
const HEAD = "audit_head";

/** Adds an entry to the audit, in its event's own transaction. Nothing changes an entry, and only age removes it. */
export async function recordAudit(transaction: Transaction<Database>, entry: AuditEntry): Promise<void> {
  await recordAuditEntries(transaction, [entry]);
}

/** Adds entries in their order. */
export async function recordAuditEntries(
  transaction: Transaction<Database>,
  entries: readonly AuditEntry[],
): Promise<void> {
  if (entries.length === 0) return;
  let head = await lockHead(transaction);
  const rows = entries.map((entry) => {
    const { event, actor, clusterId = null, at, ...detail } = entry;
    const fields = {
      chain: AUDIT_CHAIN,
      at: at.toISOString(),
      event,
      actor: chainedActor(actor),
      clusterId,
      detail: JSON.stringify(detail),
    };
    const { previousHash, ...row } = chainEntry(head, fields);
    head = row;
    return {
      chain: row.chain,
      sequence: row.sequence,
      previous_hash: previousHash,
      hash: row.hash,
      at: row.at,
      event,
      actor: row.actor.username,
      issuer: row.actor.issuer,
      subject: row.actor.subject,
      cluster_id: clusterId,
      detail: row.detail,
    };
  });
  await transaction.insertInto("audit").values(rows).execute();
  await transaction
    .updateTable("settings")
    .set({ value: headText(head) })
    .where("name", "=", HEAD)
    .execute();
}

/** The name of an actor, for rows that keep nothing else of it. */
export function actorName(actor: AuditActor): string {
  return chainedActor(actor).username;
}

/** An actor as its entries have it. */
export function chainedActor(actor: AuditActor): ChainedActor {
  if (typeof actor === "string") return { issuer: null, subject: null, username: actor };
  const { issuer, subject, username } = actor;
  return { issuer, subject, username };
}

/** Where the chain stands by its own record; undefined before the first entry. */
export async function readAuditHead(
  transaction: Pick<Transaction<Database>, "selectFrom">,
): Promise<ChainHead | undefined> {
  const row = await transaction.selectFrom("settings").select("value").where("name", "=", HEAD).executeTakeFirst();
  return row === undefined ? undefined : parseHead(row.value);
}

const ANCHOR = "audit_anchor";
/** The event by which the chain itself names the entries removed from its beginning. */
export const PRUNED_EVENT = "audit.pruned";
/** A removal is one transaction, and others wait for it. */
const PRUNE_ENTRIES = 10_000;

/** The last entry that was removed from the beginning of the chain; the first one that is left follows it. */
export async function readAuditAnchor(db: Pick<Transaction<Database>, "selectFrom">): Promise<ChainHead> {
  const row = await db.selectFrom("settings").select("value").where("name", "=", ANCHOR).executeTakeFirst();
  return row === undefined ? EMPTY_CHAIN : parseHead(row.value);
}

/**
 * Removes entries from the beginning of the chain, and writes the removal into it.
 *
 * @param limits entries of before `before` go, but none after the sequence `upTo`.
 * @returns how many went; when more than one transaction's worth may go, the rest waits for the next call.
 */
export async function pruneAudit(
  db: Kysely<Database>,
  limits: { readonly before: Date; readonly upTo: number },
  now: Date,
): Promise<number> {
  const before = limits.before.toISOString();
  return await db.transaction().execute(async (transaction) => {
    const head = await lockHead(transaction);
    const anchor = await readAuditAnchor(transaction);
    const kept = await transaction
      .selectFrom("audit")
      .select("sequence")
      .where("chain", "=", AUDIT_CHAIN)
      // Those of before a new beginning go with the first that go after it.
      .where("sequence", ">", anchor.sequence)
      .where("at", ">=", before)
      .orderBy("sequence")
      .limit(1)
      .executeTakeFirst();
    const old = kept?.sequence === undefined || kept.sequence === null ? head.sequence : Number(kept.sequence) - 1;
    const last = Math.min(old, limits.upTo, anchor.sequence + PRUNE_ENTRIES);
    if (last <= anchor.sequence) return 0;
    const { hash } = await transaction
      .selectFrom("audit")
      .select("hash")
      .where("chain", "=", AUDIT_CHAIN)
      .where("sequence", "=", last)
      .executeTakeFirstOrThrow();
    await transaction.deleteFrom("audit").where("chain", "=", AUDIT_CHAIN).where("sequence", "<=", last).execute();
    await transaction.deleteFrom("audit").where("chain", "is", null).where("at", "<", before).execute();
    const value = headText({ sequence: last, hash: hash ?? "" });
    await transaction
      .insertInto("settings")
      .values({ name: ANCHOR, value })
      .onConflict((conflict) => conflict.column("name").doUpdateSet({ value }))
      .execute();
    const entries = last - anchor.sequence;
    const removed = { sequence: last, hash, entries, before };
    await recordAudit(transaction, { event: PRUNED_EVENT, actor: "retention", at: now, ...removed });
    return entries;
  });
}

/** The head, which stays ours until the transaction ends: an update locks its row in every database. */
export async function lockHead(transaction: Transaction<Database>): Promise<ChainHead> {
  await transaction
    .insertInto("settings")
    .values({ name: HEAD, value: headText(EMPTY_CHAIN) })
    .onConflict((conflict) => conflict.column("name").doNothing())
    .execute();
  const row = await transaction
    .updateTable("settings")
    .set(({ ref }) => ({ value: ref("value") }))
    .where("name", "=", HEAD)
    .returning("value")
    .executeTakeFirstOrThrow();
  return parseHead(row.value);
}

function headText({ sequence, hash }: ChainHead): string {
  return `${sequence}:${hash}`;
}

function parseHead(text: string): ChainHead {
  const [sequence = "", hash = ""] = text.split(":");
  return { sequence: Number(sequence), hash };
}
