import type { ClusterId } from "@cluster-connect/protocol";
import type { Transaction } from "kysely";
import { type ChainHead, chainEntry, EMPTY_CHAIN } from "../audit/chain.ts";
import type { Database } from "./schema.ts";

/** Something worth remembering; other fields than these are its details and must not be secret. */
export interface AuditEntry {
  readonly event: string;
  readonly actor: string;
  readonly clusterId?: ClusterId;
  readonly at: Date;
  readonly [detail: string]: unknown;
}

/** The one chain of a store, whichever of its relays writes. */
export const AUDIT_CHAIN = "audit";
const HEAD = "audit_head";

/** Adds an entry to the audit, with the transaction of what it is about; nothing changes or removes one. */
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
      actor,
      clusterId,
      detail: JSON.stringify(detail),
    };
    const { previousHash, ...row } = chainEntry(head, fields);
    head = row;
    return {
      ...{ chain: row.chain, sequence: row.sequence, previous_hash: previousHash, hash: row.hash },
      ...{ at: row.at, event, actor, cluster_id: clusterId, detail: row.detail },
    };
  });
  await transaction.insertInto("audit").values(rows).execute();
  await transaction
    .updateTable("settings")
    .set({ value: headText(head) })
    .where("name", "=", HEAD)
    .execute();
}

/** Where the chain stands by its own record; undefined before the first entry. */
export async function readAuditHead(
  transaction: Pick<Transaction<Database>, "selectFrom">,
): Promise<ChainHead | undefined> {
  const row = await transaction.selectFrom("settings").select("value").where("name", "=", HEAD).executeTakeFirst();
  return row === undefined ? undefined : parseHead(row.value);
}

/** The head, which stays ours until the transaction ends: an update locks its row in every database. */
async function lockHead(transaction: Transaction<Database>): Promise<ChainHead> {
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
