import { ConnectError } from "@cluster-connect/protocol";
import type { Kysely } from "kysely";
import { z } from "zod";
import { PRUNED_EVENT, readAuditAnchor, readAuditHead } from "../store/audit.ts";
import type { Database } from "../store/schema.ts";
import { type ChainedEntry, type ChainHead, type ChainVerdict, EMPTY_CHAIN, verifyChain } from "./chain.ts";
import { readAuditEntries } from "./entries.ts";

const PAGE = 1_000;

/** An audit that is whole, from the first entry that retention has left. */
export interface AuditReport {
  readonly head: ChainHead;
  readonly entries: number;
  /** The last entry that retention removed, and since when there are entries; undefined where none was removed. */
  readonly removed: { readonly upTo: number; readonly firstAt: string | undefined } | undefined;
}

export type AuditVerdict = ({ readonly ok: true } & AuditReport) | Extract<ChainVerdict, { readonly ok: false }>;

/** As {@link verifyAudit}. @throws ConnectError `CC_AUDIT_BROKEN` naming the first entry that is wrong. */
export async function requireAudit(db: Kysely<Database>, expected?: ChainHead): Promise<AuditReport> {
  const verdict = await verifyAudit(db, expected);
  if (verdict.ok) return verdict;
  throw new ConnectError("CC_AUDIT_BROKEN", `The audit is not whole: ${verdict.text}`);
}

/**
 * Checks the whole audit: no entry changed, missing, added between, cut off at the end, or removed from the beginning
 * without an entry that says so.
 *
 * @param expected an entry that was noted elsewhere earlier, such as the last line of a file; it has to be in the chain.
 */
export async function verifyAudit(db: Kysely<Database>, expected?: ChainHead): Promise<AuditVerdict> {
  for (;;) {
    const anchor = await readAuditAnchor(db);
    const verdict = await verifyFrom(anchor, db, expected);
    // What was removed while we read is not missing.
    if (verdict.ok || (await readAuditAnchor(db)).sequence === anchor.sequence) return verdict;
  }
}

async function verifyFrom(
  anchor: ChainHead,
  db: Kysely<Database>,
  expected: ChainHead | undefined,
): Promise<AuditVerdict> {
  // Entries that come meanwhile are after the recorded head, and are read with the last page or not at all.
  const recorded = (await readAuditHead(db)) ?? EMPTY_CHAIN;
  let head = anchor;
  let firstAt: string | undefined;
  let isRemovalTold = anchor.sequence === 0;
  let met = expected === undefined || expected.sequence === 0 || isSame(anchor, expected);
  for (;;) {
    const page = await readAuditEntries(db, { after: head.sequence, limit: PAGE });
    const verdict = verifyChain(head, page);
    if (!verdict.ok) return verdict;
    firstAt ??= page[0]?.at;
    met ||= expected !== undefined && page.some((entry) => isSame(entry, expected));
    isRemovalTold ||= page.some((entry) => tellsOf(entry, anchor));
    head = verdict.head;
    if (page.length < PAGE) break;
  }
  const fail = (sequence: number, text: string): AuditVerdict => ({ ok: false, sequence, text });
  if (head.sequence < recorded.sequence) {
    const sequence = head.sequence + 1;
    return fail(sequence, `entries ${sequence} to ${recorded.sequence} are cut off`);
  }
  if (!isRemovalTold) return fail(anchor.sequence, `no entry tells that those up to ${anchor.sequence} were removed`);
  if (!met) return fail(expected?.sequence ?? 0, notMet(anchor, expected));
  const removed = anchor.sequence === 0 ? undefined : { upTo: anchor.sequence, firstAt };
  return { ok: true, head, entries: head.sequence - anchor.sequence, removed };
}

function notMet(anchor: ChainHead, expected: ChainHead | undefined): string {
  const sequence = expected?.sequence ?? 0;
  if (sequence < anchor.sequence)
    return `entry ${sequence} is too old to compare: those up to ${anchor.sequence} were removed`;
  return `entry ${sequence} is not the one that was noted`;
}

function isSame(a: ChainHead, b: ChainHead): boolean {
  return a.sequence === b.sequence && a.hash === b.hash;
}

const REMOVED = z.object({ sequence: z.int(), hash: z.string() });

function tellsOf({ event, detail }: ChainedEntry, anchor: ChainHead): boolean {
  if (event !== PRUNED_EVENT) return false;
  const removed = REMOVED.safeParse(JSON.parse(detail));
  return removed.success && isSame(removed.data, anchor);
}

/** What somebody who asked is told. */
export function describeAudit({ head, entries, removed }: AuditReport, output: "text" | "json" = "text"): string {
  const { sequence, hash } = head;
  if (output === "json") return JSON.stringify({ entries, head: `${sequence}:${hash}`, removed: removed ?? null });
  const first = (removed?.upTo ?? 0) + 1;
  const since =
    removed === undefined ? "" : ` since ${removed.firstAt}, from number ${first} on; earlier ones are removed`;
  return `The audit is whole: ${entries} entries${since}. Its head is ${sequence}:${hash}`;
}
