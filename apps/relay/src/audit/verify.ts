import { ConnectError } from "@cluster-connect/protocol";
import { z } from "zod";
import { type Beginning, beginningOf } from "../store/audit/beginning.ts";
import { PRUNED_EVENT, readAuditAnchor, readAuditHead } from "../store/queries/audit.ts";
import {
  type BrokenChain,
  brokenChain,
  type ChainedEntry,
  type ChainHead,
  EMPTY_CHAIN,
  isSameHead,
  verifyChain,
} from "../store/queries/audit-chain.ts";
import { readAuditEntries, readUnsealed, type UnsealedEntries } from "../store/queries/audit-entries.ts";
import { type HeadSeal, parseDetail, readNewestSeal } from "../store/queries/audit-seals.ts";
import type { Store } from "../store/store.ts";
import {
  compareHead,
  createSealCheck,
  judgeBeginning,
  removedTooSoon,
  type SealCheck,
  type SealContext,
} from "./seal-check.ts";

const PAGE = 1_000;

/** Things noted outside of an audit, against which it is held. */
export interface AuditEvidence {
  /** An entry that was noted elsewhere earlier, such as the last line of a file; it has to be in the chain. */
  readonly expected?: ChainHead | undefined;
  /** Sealed heads that were noted elsewhere; each that retention has not removed has to be in the chain. */
  readonly heads?: readonly HeadSeal[] | undefined;
  /** Absent without a key: seals are not looked at then. */
  readonly seals?: SealEvidence | undefined;
  /** The present, by which a removal is told to be none by age; that of `seals` without it. */
  readonly now?: Date | undefined;
}

export interface SealEvidence extends SealContext {
  /** Entries that are not sealed are no older than this. */
  readonly maxUnsealedMs: number;
  readonly now: Date;
}

/** An audit that is whole, from the first entry that retention has left, or from a new beginning on. */
export interface AuditReport {
  readonly head: ChainHead;
  readonly entries: number;
  /** The last entry that retention removed, and since when there are entries; undefined where none was removed. */
  readonly removed: { readonly upTo: number; readonly firstAt: string | undefined } | undefined;
  /** Undefined where no key was given. */
  readonly sealed: { readonly upTo: number; readonly unsealed: UnsealedEntries } | undefined;
  /** Where it was begun anew, as it was not whole before. */
  readonly begun: Beginning | undefined;
}

export type AuditVerdict = ({ readonly ok: true } & AuditReport) | BrokenChain;

/** As {@link verifyAudit}. @throws ConnectError `CC_AUDIT_BROKEN` naming the fault and the first entry that is wrong. */
export async function requireAudit(db: Store["db"], evidence: AuditEvidence = {}): Promise<AuditReport> {
  const verdict = await verifyAudit(db, evidence);
  if (verdict.ok) return verdict;
  throw new ConnectError("CC_AUDIT_BROKEN", `The audit is not whole (${verdict.fault}): ${verdict.text}`);
}

/**
 * Checks the whole audit: no entry changed, missing, added between, cut off at the end, or removed from the beginning
 * without an entry that says so; with a key also that what was sealed is as it was.
 */
export async function verifyAudit(db: Store["db"], evidence: AuditEvidence = {}): Promise<AuditVerdict> {
  for (;;) {
    const anchor = await readAuditAnchor(db);
    const verdict = await verifyFrom(anchor, db, evidence);
    // Entries removed while we read are not missing.
    if (verdict.ok || (await readAuditAnchor(db)).sequence === anchor.sequence) return verdict;
  }
}

async function verifyFrom(anchor: ChainHead, db: Store["db"], evidence: AuditEvidence): Promise<AuditVerdict> {
  const { expected, heads = [], seals, now = seals?.now } = evidence;
  // Entries that come meanwhile are after the recorded head, and are read with the last page or not at all.
  const recorded = (await readAuditHead(db)) ?? EMPTY_CHAIN;
  const check = seals && createSealCheck(seals, anchor, db);
  const walk = await walkChain(anchor, { db, expected, recorded, check });
  if (!walk.ok) return walk;
  const { head, firstAt, begun } = walk;
  if (head.sequence < recorded.sequence) {
    const sequence = head.sequence + 1;
    return brokenChain("cut", sequence, `entries ${sequence} to ${recorded.sequence} are cut off`);
  }
  if (!walk.metRecorded) {
    return brokenChain("head", recorded.sequence, `the store names another head than entry ${recorded.sequence}`);
  }
  if (!walk.isRemovalTold) {
    return brokenChain("removal", anchor.sequence, `no entry tells that those up to ${anchor.sequence} were removed`);
  }
  if (!walk.metExpected) return brokenChain("expected", expected?.sequence ?? 0, notMet(anchor, expected, begun));
  const removed = anchor.sequence === 0 || begun !== undefined ? undefined : { upTo: anchor.sequence, firstAt };
  const report = { ok: true, head, entries: head.sequence - anchor.sequence, removed, begun } as const;
  const young = begun === undefined && now !== undefined ? removedTooSoon(heads, anchor, now) : undefined;
  if (young !== undefined) return young;
  if (check === undefined || seals === undefined) {
    return (await compareHeads(heads, anchor, db)) ?? { ...report, sealed: undefined };
  }
  const forged = begun && (await judgeBeginning(begun, seals));
  if (forged !== undefined) return forged;
  const sealed = await verifySeals(check, { heads, begun }, seals, db);
  return "ok" in sealed ? sealed : { ...report, sealed };
}

interface ChainWalk {
  readonly ok: true;
  readonly head: ChainHead;
  readonly firstAt: string | undefined;
  readonly isRemovalTold: boolean;
  readonly begun: Beginning | undefined;
  readonly metRecorded: boolean;
  readonly metExpected: boolean;
}

async function walkChain(
  anchor: ChainHead,
  look: {
    readonly db: Store["db"];
    readonly expected: ChainHead | undefined;
    readonly recorded: ChainHead;
    readonly check: SealCheck | undefined;
  },
): Promise<ChainWalk | BrokenChain> {
  const { db, expected, recorded, check } = look;
  const meets = (wanted: ChainHead, page: readonly ChainHead[]): boolean => page.some((one) => isSameHead(one, wanted));
  let head = anchor;
  let firstAt: string | undefined;
  let isRemovalTold = anchor.sequence === 0;
  let begun: Beginning | undefined;
  let metRecorded = isSameHead(anchor, recorded);
  let metExpected = expected === undefined || expected.sequence === 0 || isSameHead(anchor, expected);
  for (;;) {
    const page = await readAuditEntries(db, { after: head.sequence, limit: PAGE });
    const verdict = verifyChain(head, page);
    if (!verdict.ok) return verdict;
    for (const entry of page) {
      const broken = await check?.entry(entry);
      if (broken !== undefined) return broken;
    }
    firstAt ??= page[0]?.at;
    metRecorded ||= meets(recorded, page);
    metExpected ||= expected !== undefined && meets(expected, page);
    begun ??= page[0] && beginningOf(page[0], anchor);
    isRemovalTold ||= begun !== undefined || page.some((entry) => tellsOf(entry, anchor));
    head = verdict.head;
    if (page.length < PAGE) return { ok: true, head, firstAt, isRemovalTold, begun, metRecorded, metExpected };
  }
}

/** Without a key a noted head counts for as much as the place that it was noted at. */
async function compareHeads(
  heads: readonly HeadSeal[],
  anchor: ChainHead,
  db: Store["db"],
): Promise<BrokenChain | undefined> {
  for (const head of heads) {
    const broken = await compareHead(head, anchor, db);
    if (broken !== undefined) return broken;
  }
  return undefined;
}

/** The seals that are not in the chain itself, and whether all that ought to be sealed is. */
async function verifySeals(
  check: SealCheck,
  { heads, begun }: { readonly heads: readonly HeadSeal[]; readonly begun: Beginning | undefined },
  { maxUnsealedMs, now }: SealEvidence,
  db: Store["db"],
): Promise<NonNullable<AuditReport["sealed"]> | BrokenChain> {
  const newest = await readNewestSeal(db);
  const young = newest && removedTooSoon([newest], check.anchor, now);
  if (young !== undefined) return young;
  for (const seal of newest === undefined ? heads : [newest, ...heads]) {
    const broken = await check.noted(seal);
    if (broken !== undefined) return broken;
  }
  // The seal of a beginning counts for the number that it follows.
  const sealedUpTo = Math.max(check.sealedUpTo, begun?.kept.sequence ?? 0);
  const unsealed = await readUnsealed(db, sealedUpTo);
  const { entries, since } = unsealed;
  if (sealedUpTo === 0 && entries > 0) {
    return brokenChain("unsealed", 0, "no entry that is there is sealed; a relay with audit.seal seals when it starts");
  }
  if (since !== undefined && now.getTime() - Date.parse(since) > maxUnsealedMs) {
    const text = `${entries} entries after ${sealedUpTo}, from ${since} on, are not sealed`;
    return brokenChain("unsealed", sealedUpTo + 1, `${text}; does a relay with audit.seal run?`);
  }
  return { upTo: sealedUpTo, unsealed };
}

function notMet(anchor: ChainHead, expected: ChainHead | undefined, begun: Beginning | undefined): string {
  const sequence = expected?.sequence ?? 0;
  if (begun !== undefined && sequence <= anchor.sequence)
    return `entry ${sequence} is from before the audit was begun anew at ${begun.sequence}: compare it with the kept file`;
  if (sequence < anchor.sequence)
    return `entry ${sequence} is too old to compare: those up to ${anchor.sequence} were removed`;
  return `entry ${sequence} is not the one that was noted`;
}

const REMOVED = z.object({ sequence: z.int(), hash: z.string() });

function tellsOf({ event, detail }: ChainedEntry, anchor: ChainHead): boolean {
  if (event !== PRUNED_EVENT) return false;
  const removed = REMOVED.safeParse(parseDetail(detail));
  return removed.success && isSameHead(removed.data, anchor);
}

/** The command's output for the operator who asked. */
export function describeAudit(report: AuditReport, output: "text" | "json" = "text"): string {
  const { head, entries, removed, sealed, begun } = report;
  const { sequence, hash } = head;
  if (output === "json") {
    const nothing = { removed: removed ?? null, sealed: sealed ?? null, begun: begun ?? null };
    return JSON.stringify({ entries, head: `${sequence}:${hash}`, ...nothing });
  }
  if (begun !== undefined) {
    const whole = `From number ${begun.sequence} on the audit is whole: ${entries} entries. Its head is ${sequence}:${hash}`;
    return `${describeBeginning(begun)}\n${whole}\n${describeSeals(sealed)}`;
  }
  const first = (removed?.upTo ?? 0) + 1;
  const since =
    removed === undefined ? "" : ` since ${removed.firstAt}, from number ${first} on; earlier ones are removed`;
  return `The audit is whole: ${entries} entries${since}. Its head is ${sequence}:${hash}\n${describeSeals(sealed)}`;
}

/** Tells of the break, each time. */
export function describeBeginning({ sequence, at, reason, fault, text, kept }: Beginning): string {
  const before = `It was not whole before (${fault}: ${text}).`;
  const where = `The ${kept.entries} entries of before are in the file with the SHA-256 ${kept.sha256}.`;
  return `The audit was begun anew at number ${sequence}, ${at}: ${reason}\n${before} ${where}`;
}

function describeSeals(sealed: AuditReport["sealed"]): string {
  if (sealed === undefined) return "Its seals were not checked, as no key was given.";
  const { upTo, unsealed } = sealed;
  const rest = unsealed.entries === 0 ? "" : `; ${unsealed.entries} since then, the first at ${unsealed.since}`;
  return `It is sealed up to number ${upTo}${rest}.`;
}
