import { AUDIT_CHAIN } from "../../src/store/queries/audit.ts";
import { type ChainedEntry, chainEntry, EMPTY_CHAIN } from "../../src/store/queries/audit-chain.ts";
import { readAuditEntries } from "../../src/store/queries/audit-entries.ts";
import { writeSetting } from "../../src/store/queries/settings.ts";
import type { Store } from "../../src/store/store.ts";

/** An entry as its forger writes it; place and hashes come from the chain. */
export type ForgedEntry = Pick<ChainedEntry, "at" | "event" | "actor" | "clusterId" | "detail">;

/**
 * Writes the whole audit anew, with right numbers and hashes and the head to them, as somebody who may write to the
 * store can.
 */
export async function rewriteAudit(
  { db }: Pick<Store, "db">,
  change: (entries: readonly ForgedEntry[]) => readonly ForgedEntry[],
): Promise<void> {
  const former = await readAuditEntries(db, { after: 0, limit: 10_000 });
  let head = EMPTY_CHAIN;
  const entries = change(former).map(({ at, event, actor, clusterId, detail }) => {
    const entry = chainEntry(head, { chain: AUDIT_CHAIN, at, event, actor, clusterId, detail });
    head = entry;
    return entry;
  });
  await db.deleteFrom("audit").execute();
  for (const { chain, sequence, previousHash, hash, at, event, actor, clusterId, detail } of entries) {
    const { username, issuer, subject } = actor;
    const row = { chain, sequence, previous_hash: previousHash, hash, at, event, detail };
    await db
      .insertInto("audit")
      .values({ ...row, actor: username, issuer, subject, cluster_id: clusterId })
      .execute();
  }
  await writeSetting(db, "audit_head", `${head.sequence}:${head.hash}`);
}
