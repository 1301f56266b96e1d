import type { Kysely, Transaction } from "kysely";
import { z } from "zod";
import { AUDIT_CHAIN, lockHead, recordAudit } from "../queries/audit.ts";
import type { ChainedEntry, ChainHead } from "../queries/audit-chain.ts";
import { readAuditEntries } from "../queries/audit-entries.ts";
import { HEAD_SEAL, type HeadSeal, parseDetail } from "../queries/audit-seals.ts";
import { readSetting, writeSetting } from "../queries/settings.ts";
import type { AuditTable, Database } from "../schema.ts";

/** The event of the entry with which an audit begins anew. */
const BEGUN_EVENT = "audit.begun";

/** The first entry of an audit that was begun anew. */
export interface Beginning {
  readonly sequence: number;
  readonly at: string;
  readonly reason: string;
  /** The fault of the former audit that the verification named, and its text. */
  readonly fault: string;
  readonly text: string;
  /** The former audit: the number behind which the new one begins, and what the keeper's file holds. */
  readonly kept: { readonly sequence: number; readonly entries: number; readonly sha256: string };
  /** By a holder of the key; absent without a key. */
  readonly seal?: HeadSeal | undefined;
}

const BEGUN_DETAIL: z.ZodType<Omit<Beginning, "sequence" | "at">> = z.object({
  reason: z.string(),
  fault: z.string(),
  text: z.string(),
  kept: z.object({ sequence: z.int(), entries: z.int(), sha256: z.string() }),
  seal: HEAD_SEAL.optional(),
});

/** Takes the former audit over, before it counts no longer. */
export interface FormerAuditKeeper {
  write(lines: readonly string[]): Promise<void>;
  /** SHA-256 of all that was written, hex, once it is safe. */
  finish(): Promise<string>;
}

export interface BeginningOptions {
  readonly now: Date;
  readonly reason: string;
  readonly fault: string;
  readonly text: string;
  /** The last number that is known outside of the store, such as a sink's: the new entries come after it. */
  readonly after: number;
  readonly relayId: string;
  readonly keep: FormerAuditKeeper;
  /** Absent without a key. */
  readonly seal: ((head: Pick<HeadSeal, "sequence" | "hash" | "at">) => Promise<HeadSeal>) | undefined;
}

const PAGE = 1_000;
const ANCHOR = "audit_anchor";
const HEAD = "audit_head";
const NEWEST_SEAL = "audit_seal";
/** A number beyond it is no entry's; such a row is kept in the file alone. */
const MAX_SEQUENCE = 900_000_000_000_000;

/**
 * Hands the whole audit to the keeper, and begins it anew behind its last number. The first entry follows the keeper's
 * SHA-256, so that what was kept can be told from anything else. Former entries stay in the store until age removes
 * them, and count no longer. Nothing is written meanwhile.
 */
export async function beginAuditAnew(db: Kysely<Database>, options: BeginningOptions): Promise<Beginning> {
  const { now, reason, fault, text, keep, relayId } = options;
  return await db.transaction().execute(async (transaction) => {
    await lockHead(transaction);
    const at = now.toISOString();
    const [head, anchor, newest] = await settingsOf(transaction, [HEAD, ANCHOR, NEWEST_SEAL]);
    await keep.write([JSON.stringify({ kept: "cluster-connect audit", relayId, at, head, anchor, seal: newest })]);
    const { entries, last } = await keepRows(transaction, keep);
    const sha256 = await keep.finish();
    const cursors = await transaction
      .selectFrom("settings")
      .select("value")
      .where("name", "like", "audit_webhook_%")
      .execute();
    const noted = [head, anchor, ...cursors.map(({ value }) => value)].map((value) => numberOf(value));
    const sequence = Math.max(last, numberOf(String(options.after)), ...noted);
    await transaction.deleteFrom("audit").where("chain", "=", AUDIT_CHAIN).where("sequence", ">", sequence).execute();
    for (const name of [ANCHOR, HEAD]) await writeSetting(transaction, name, `${sequence}:${sha256}`);
    await transaction.deleteFrom("settings").where("name", "=", NEWEST_SEAL).execute();
    const seal = await options.seal?.({ sequence, hash: sha256, at });
    const detail = {
      reason,
      fault,
      text,
      kept: { sequence, entries, sha256 },
      ...(seal === undefined ? {} : { seal }),
    };
    await recordAudit(transaction, { event: BEGUN_EVENT, actor: "operator", at: now, ...detail });
    return { ...detail, sequence: sequence + 1, at };
  });
}

/** The beginning behind the anchor; undefined where age removed entries, or none. */
export async function readBeginning(db: Kysely<Database>, anchor: ChainHead): Promise<Beginning | undefined> {
  const [first] = await readAuditEntries(db, { after: anchor.sequence, limit: 1 });
  return first && beginningOf(first, anchor);
}

/** An entry as the beginning of a chain; undefined for any other entry. */
export function beginningOf({ event, sequence, detail, at }: ChainedEntry, anchor: ChainHead): Beginning | undefined {
  if (event !== BEGUN_EVENT || sequence !== anchor.sequence + 1) return undefined;
  const found = BEGUN_DETAIL.safeParse(parseDetail(detail)).data;
  if (found?.kept.sequence !== anchor.sequence || found.kept.sha256 !== anchor.hash) return undefined;
  return { ...found, sequence, at };
}

/** The text of a beginning's seal: no seal of a head counts for it. */
export function beginningText(
  { sequence, hash, at }: Pick<HeadSeal, "sequence" | "hash" | "at">,
  relayId: string,
): string {
  return JSON.stringify(["cluster-connect audit beginning", relayId, AUDIT_CHAIN, sequence, hash, at]);
}

async function settingsOf(
  transaction: Transaction<Database>,
  names: readonly string[],
): Promise<readonly (string | undefined)[]> {
  const values: (string | undefined)[] = [];
  for (const name of names) values.push(await readSetting(transaction, name));
  return values;
}

async function keepRows(
  transaction: Transaction<Database>,
  keep: FormerAuditKeeper,
): Promise<{ readonly entries: number; readonly last: number }> {
  let entries = 0;
  let last = 0;
  for (let after = Number.MIN_SAFE_INTEGER; ; ) {
    const page = await transaction
      .selectFrom("audit")
      .selectAll()
      .where("chain", "=", AUDIT_CHAIN)
      .where("sequence", ">", after)
      .orderBy("sequence")
      .limit(PAGE)
      .execute();
    await keep.write(page.map(lineOf));
    entries += page.length;
    after = Number(page.at(-1)?.sequence);
    for (const { sequence } of page) last = Math.max(last, numberOf(String(sequence)));
    if (page.length < PAGE) return { entries, last };
  }
}

/** Every column as it is: a detail that was tampered with need not be JSON. */
function lineOf({ sequence, ...row }: { readonly sequence: AuditTable["sequence"] }): string {
  return JSON.stringify({ sequence: Number(sequence), ...row });
}

/** The number of an entry, or of a head; 0 for anything else. */
function numberOf(text: string | undefined): number {
  const [, digits] = /^(\d{1,15})(?::|$)/.exec(text ?? "") ?? [];
  const sequence = Number(digits ?? 0);
  return sequence <= MAX_SEQUENCE ? sequence : 0;
}
