import { createHash } from "node:crypto";

/** The actor of an entry; issuer and subject are null for one that has no token, such as `operator`. */
export interface ChainedActor {
  readonly issuer: string | null;
  readonly subject: string | null;
  readonly username: string;
}

/** One entry of the audit as it is chained; `detail` is JSON text, kept to the letter. */
export interface ChainedEntry {
  readonly chain: string;
  /** From 1, without a gap. */
  readonly sequence: number;
  readonly at: string;
  readonly event: string;
  readonly actor: ChainedActor;
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

/** Head of an empty chain. */
export const EMPTY_CHAIN: ChainHead = { sequence: 0, hash: "0".repeat(64) };

/**
 * The faults of a chain. `missing`: an entry is not there; `moved`: one does not follow the one before; `changed`:
 * one is not as it was hashed; `cut`: its end is not there; `head`: the store's own record of the head is another;
 * `rewritten`: a sealed head is not in it; `forged-seal`: a seal is not by the key that it names; `foreign-key`: a seal
 * names a key that was not given, or one that another had replaced; `unsealed`: entries that ought to be sealed are not;
 * `removal`: its beginning went without a word; `expected`: an entry noted elsewhere is not in it.
 */
export type ChainFault =
  | "missing"
  | "moved"
  | "changed"
  | "cut"
  | "head"
  | "rewritten"
  | "forged-seal"
  | "foreign-key"
  | "unsealed"
  | "removal"
  | "expected";

export interface BrokenChain {
  readonly ok: false;
  readonly fault: ChainFault;
  readonly sequence: number;
  readonly text: string;
}

/** Verdict on a chain. */
export type ChainVerdict = { readonly ok: true; readonly head: ChainHead } | BrokenChain;

export function brokenChain(fault: ChainFault, sequence: number, text: string): BrokenChain {
  return { ok: false, fault, sequence, text };
}

/** Whether two heads are the same. */
export function isSameHead(a: ChainHead, b: ChainHead): boolean {
  return a.sequence === b.sequence && a.hash === b.hash;
}

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
    if (entry.sequence !== wanted) {
      return brokenChain("missing", wanted, `entry ${wanted} is missing; ${entry.sequence} comes next`);
    }
    if (entry.previousHash !== hash) {
      return brokenChain("moved", wanted, `entry ${wanted} does not follow the one before it`);
    }
    if (entry.hash !== hashOf(entry)) return brokenChain("changed", wanted, `entry ${wanted} was changed`);
    ({ sequence, hash } = entry);
  }
  return { ok: true, head: { sequence, hash } };
}

/**
 * SHA-256, hex, over a JSON array, so that no two entries write the same text. Entries from before actors had an issuer
 * and a subject have the shorter array, as has an actor without a token today.
 */
function hashOf(entry: Omit<ChainedEntry, "hash">): string {
  const { chain, sequence, previousHash, at, event, actor, clusterId, detail } = entry;
  const { issuer, subject, username } = actor;
  const token = issuer === null && subject === null ? [] : [issuer, subject];
  const text = JSON.stringify([chain, sequence, previousHash, at, event, username, clusterId, detail, ...token]);
  return createHash("sha256").update(text).digest("hex");
}
