import { type Beginning, beginningText } from "../store/audit/beginning.ts";
import { type BrokenChain, brokenChain, type ChainedEntry, type ChainHead } from "../store/queries/audit-chain.ts";
import { readHeadAt } from "../store/queries/audit-entries.ts";
import { type HeadSeal, SEALED_EVENT, sealedText, sealOfDetail } from "../store/queries/audit-seals.ts";
import type { Store } from "../store/store.ts";
import type { SealKeys } from "./seal-keys.ts";

/** The keys that judge seals, and the store whose seals they are. */
export interface SealContext {
  readonly keys: SealKeys;
  /** Names the store, in every seal. */
  readonly relayId: string;
}

/** Judges the seals of one chain, in its order. */
export interface SealCheck {
  /** Judges the seal of an entry; other entries have none. */
  entry(entry: ChainedEntry): Promise<BrokenChain | undefined>;
  /** Judges a seal that was noted outside of the chain. */
  noted(seal: HeadSeal): Promise<BrokenChain | undefined>;
  /** The newest head that is sealed and in the chain; 0 without one. */
  readonly sealedUpTo: number;
  /** The last entry that is not in the chain any more. */
  readonly anchor: ChainHead;
}

/** @param anchor the last entry that retention removed: heads from before it cannot be compared. */
export function createSealCheck(context: SealContext, anchor: ChainHead, db: Store["db"]): SealCheck {
  let sealedUpTo = 0;
  /** Place among the keys of the newest one seen so far; 0 is the current. */
  let newestRank = Number.POSITIVE_INFINITY;

  const compare = async (seal: HeadSeal): Promise<BrokenChain | undefined> => {
    const broken = await compareHead(seal, anchor, db);
    if (broken === undefined && seal.sequence >= anchor.sequence) sealedUpTo = Math.max(sealedUpTo, seal.sequence);
    return broken;
  };

  return {
    async entry({ event, sequence, detail }) {
      if (event !== SEALED_EVENT) return undefined;
      const seal = sealOfDetail(detail);
      if (seal === undefined) return brokenChain("forged-seal", sequence, `entry ${sequence} holds no seal`);
      const judged = await judgeSeal(seal, context);
      if (!judged.ok) return judged;
      if (judged.rank > newestRank) {
        const text = `the head ${seal.sequence} is sealed by the key ${seal.keyId}, which another had replaced by then`;
        return brokenChain("foreign-key", seal.sequence, text);
      }
      newestRank = judged.rank;
      if (seal.sequence >= sequence) {
        const text = `entries before ${sequence} were taken out: it seals ${seal.sequence}, which came before it`;
        return brokenChain("rewritten", sequence, text);
      }
      return await compare(seal);
    },
    async noted(seal) {
      const judged = await judgeSeal(seal, context);
      return judged.ok ? await compare(seal) : judged;
    },
    get sealedUpTo() {
      return sealedUpTo;
    },
    anchor,
  };
}

/** Entries stay for a day at the least, so a head that was sealed since then is there; an hour is for clocks. */
const SHORTEST_RETENTION_MS = 23 * 3_600_000;

/** Heads that are too young for age to have removed them: whoever did so has made the removal up. */
export function removedTooSoon(heads: readonly HeadSeal[], anchor: ChainHead, now: Date): BrokenChain | undefined {
  const gone = heads.find(
    ({ sequence, at }) => sequence < anchor.sequence && now.getTime() - Date.parse(at) < SHORTEST_RETENTION_MS,
  );
  if (gone === undefined) return undefined;
  const text = `entries up to ${anchor.sequence} are removed, and ${gone.sequence} was sealed as late as ${gone.at}`;
  return brokenChain("removal", gone.sequence, `${text}: age removes none so young`);
}

/** Whether a new beginning is one that a holder of a key decided. */
export async function judgeBeginning(
  { sequence, seal, kept }: Beginning,
  context: SealContext,
): Promise<BrokenChain | undefined> {
  if (seal === undefined || seal.sequence !== kept.sequence || seal.hash !== kept.sha256) {
    return brokenChain("unsealed", sequence, `the audit was begun anew at ${sequence} by somebody without a key`);
  }
  const judged = await judgeSeal(seal, context, beginningText);
  return judged.ok ? undefined : judged;
}

/** Whether a head is in the chain as it was sealed; one from before the anchor cannot be compared. */
export async function compareHead(
  { sequence, hash, at }: HeadSeal,
  anchor: ChainHead,
  db: Store["db"],
): Promise<BrokenChain | undefined> {
  if (sequence < anchor.sequence) return undefined;
  const found = sequence === anchor.sequence ? anchor : await readHeadAt(db, sequence);
  if (found === undefined) {
    return brokenChain(
      "cut",
      sequence,
      `the head ${sequence} was sealed at ${at} and is not there: the end is cut off`,
    );
  }
  if (found.hash === hash) return undefined;
  const text = `entries up to ${sequence} were written anew after they were sealed at ${at}`;
  return brokenChain("rewritten", sequence, text);
}

type JudgedSeal = { readonly ok: true; readonly rank: number } | BrokenChain;

/** Whether a seal is by one of the keys; which algorithm counts is the key's to say, not the seal's. */
export async function judgeSeal(
  seal: HeadSeal,
  { keys, relayId }: SealContext,
  textOf: typeof sealedText = sealedText,
): Promise<JudgedSeal> {
  const { sequence, keyId, algorithm } = seal;
  const all = [keys.current, ...keys.former];
  const rank = all.findIndex(({ id }) => id === keyId);
  const key = all[rank];
  if (key === undefined) {
    return brokenChain(
      "foreign-key",
      sequence,
      `the head ${sequence} is sealed by a foreign key, ${printableId(keyId)}`,
    );
  }
  const isGenuine = key.algorithm === algorithm && (await key.verify(textOf(seal, relayId), seal.seal));
  if (isGenuine) return { ok: true, rank };
  return brokenChain(
    "forged-seal",
    sequence,
    `the seal of the head ${sequence} is not by the key ${keyId} that it names`,
  );
}

/** The store may hold anything for an id. */
function printableId(keyId: string): string {
  return /^[\w.-]+$/.test(keyId) ? keyId : "whose id is not printable";
}
