import { ConnectError } from "@cluster-connect/protocol";
import type { Kysely } from "kysely";
import { readAuditHead } from "../store/audit.ts";
import type { Database } from "../store/schema.ts";
import { type ChainHead, type ChainVerdict, EMPTY_CHAIN, verifyChain } from "./chain.ts";
import { readAuditEntries } from "./entries.ts";

const PAGE = 1_000;

/** As {@link verifyAudit}. @throws ConnectError `CC_AUDIT_BROKEN` naming the first entry that is wrong. */
export async function requireAudit(db: Kysely<Database>, expected?: ChainHead): Promise<ChainHead> {
  const verdict = await verifyAudit(db, expected);
  if (verdict.ok) return verdict.head;
  throw new ConnectError("CC_AUDIT_BROKEN", `The audit is not whole: ${verdict.text}`);
}

/**
 * Checks the whole audit: no entry changed, missing, added between or cut off at the end.
 *
 * @param expected an entry that was noted elsewhere earlier, such as the last line of a file; it has to be in the chain.
 */
export async function verifyAudit(db: Kysely<Database>, expected?: ChainHead): Promise<ChainVerdict> {
  // Entries that come meanwhile are after the recorded head, and are read with the last page or not at all.
  const recorded = (await readAuditHead(db)) ?? EMPTY_CHAIN;
  let head = EMPTY_CHAIN;
  let met = expected === undefined || expected.sequence === 0;
  for (;;) {
    const page = await readAuditEntries(db, { after: head.sequence, limit: PAGE });
    const verdict = verifyChain(head, page);
    if (!verdict.ok) return verdict;
    met ||= page.some(({ sequence, hash }) => sequence === expected?.sequence && hash === expected.hash);
    head = verdict.head;
    if (page.length < PAGE) break;
  }
  if (head.sequence < recorded.sequence) {
    const sequence = head.sequence + 1;
    return { ok: false, sequence, text: `entries ${sequence} to ${recorded.sequence} are cut off` };
  }
  if (!met) {
    const sequence = expected?.sequence ?? 0;
    return { ok: false, sequence, text: `entry ${sequence} is not the one that was noted` };
  }
  return { ok: true, head };
}
