import { createHash } from "node:crypto";

/** One entry of the audit as it is chained; `detail` is JSON text, kept to the letter. */
export interface ChainedEntry {
  readonly chain: string;
  /** From 1, without a gap. */
  readonly sequence: number;
  readonly at: string;
  readonly event: string;
  readonly actor: string;
  readonly clusterId: string | null;
  readonly detail: string;
  readonly previousHash: string;
  readonly hash: string;
}

/** Where a chain stands. */
export interface ChainHead {
  readonly sequence: number;
  readonly hash: string;
}

/** What an empty chain begins with. */
export const EMPTY_CHAIN: ChainHead = { sequence: 0, hash: "0".repeat(64) };

/** What a chain is found to be. */
export type ChainVerdict =
  | { readonly ok: true; readonly head: ChainHead }
  | { readonly ok: false; readonly sequence: number; readonly text: string };

/** Links an entry to the head. */
export function chainEntry(
  head: ChainHead,
  entry: Omit<ChainedEntry, "sequence" | "previousHash" | "hash">,
): ChainedEntry {
  const linked = { ...entry, sequence: head.sequence + 1, previousHash: head.hash };
  return { ...linked, hash: hashOf(linked) };
}

/** Goes on with a verification: entries in order, from the one after `head`. */
export function verifyChain(head: ChainHead, entries: Iterable<ChainedEntry>): ChainVerdict {
  let { sequence, hash } = head;
  for (const entry of entries) {
    const wanted = sequence + 1;
    const fail = (text: string): ChainVerdict => ({ ok: false, sequence: wanted, text });
    if (entry.sequence !== wanted) return fail(`entry ${wanted} is missing; ${entry.sequence} comes next`);
    if (entry.previousHash !== hash) return fail(`entry ${wanted} does not follow the one before it`);
    if (entry.hash !== hashOf(entry)) return fail(`entry ${wanted} was changed`);
    ({ sequence, hash } = entry);
  }
  return { ok: true, head: { sequence, hash } };
}

/** SHA-256, hex, over a JSON array, so that no two entries write the same text. */
function hashOf(entry: Omit<ChainedEntry, "hash">): string {
  const { chain, sequence, previousHash, at, event, actor, clusterId, detail } = entry;
  const text = JSON.stringify([chain, sequence, previousHash, at, event, actor, clusterId, detail]);
  return createHash("sha256").update(text).digest("hex");
}
