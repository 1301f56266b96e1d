import type { Kysely, Transaction } from "kysely";
import { z } from "zod";
import type { Database } from "../schema.ts";
import { AUDIT_CHAIN, lockHead, recordAudit } from "./audit.ts";
import { readSetting, writeSetting } from "./settings.ts";

/** The event by which the chain itself names a head that was sealed. */
export const SEALED_EVENT = "audit.sealed";
const NEWEST = "audit_seal";

/** A head of the audit, sealed by a key that the store does not hold. */
export interface HeadSeal {
  readonly sequence: number;
  readonly hash: string;
  /** When it was sealed, ISO 8601. */
  readonly at: string;
  readonly algorithm: string;
  readonly keyId: string;
  readonly seal: string;
}

export const HEAD_SEAL: z.ZodType<HeadSeal> = z.object({
  sequence: z.int().min(0),
  hash: z.string().max(64),
  at: z.string().max(64),
  algorithm: z.string().max(32),
  keyId: z.string().max(64),
  seal: z.string().max(4_096),
});

/** The text that is sealed: no seal of one store, chain or moment counts for another. */
export function sealedText(
  { sequence, hash, at }: Pick<HeadSeal, "sequence" | "hash" | "at">,
  relayId: string,
): string {
  return JSON.stringify(["cluster-connect audit head", relayId, AUDIT_CHAIN, sequence, hash, at]);
}

/** The newest seal as the store names it; undefined before the first, and for a text that is none. */
export async function readNewestSeal(db: Kysely<Database>): Promise<HeadSeal | undefined> {
  return parseSeal(await readSetting(db, NEWEST));
}

/**
 * Writes a seal into the chain.
 *
 * @param former the newest seal when this one was made.
 * @returns false when another relay has sealed meanwhile.
 */
export async function appendSeal(
  db: Kysely<Database>,
  seal: HeadSeal,
  { former, now }: { readonly former: HeadSeal | undefined; readonly now: Date },
): Promise<boolean> {
  return await db.transaction().execute(async (transaction: Transaction<Database>) => {
    await lockHead(transaction);
    const newest = await readNewestSeal(transaction);
    if (newest?.seal !== former?.seal) return false;
    await recordAudit(transaction, { event: SEALED_EVENT, actor: "relay", at: now, head: seal });
    await writeSetting(transaction, NEWEST, JSON.stringify(seal));
    return true;
  });
}

const SEALED_DETAIL = z.object({ head: HEAD_SEAL });

/** The seal in an entry's detail; undefined for one that holds none. */
export function sealOfDetail(detail: string): HeadSeal | undefined {
  return SEALED_DETAIL.safeParse(parseDetail(detail)).data?.head;
}

function parseSeal(text: string | undefined): HeadSeal | undefined {
  return text === undefined ? undefined : HEAD_SEAL.safeParse(parseDetail(text)).data;
}

/** A detail as an entry has it; undefined for a text that is no JSON, as somebody who may write to the store can leave it. */
export function parseDetail(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
