import { type Clock, repeat } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import { errorFields, type Logger } from "@cluster-connect/service";
import { readBeginning } from "../store/audit/beginning.ts";
import { readAuditAnchor, readAuditHead } from "../store/queries/audit.ts";
import { type ChainHead, EMPTY_CHAIN, verifyChain } from "../store/queries/audit-chain.ts";
import { readAuditEntries } from "../store/queries/audit-entries.ts";
import { appendSeal, type HeadSeal, readNewestSeal, sealedText } from "../store/queries/audit-seals.ts";
import type { Store } from "../store/store.ts";
import { compareHead, judgeBeginning, judgeSeal, removedTooSoon } from "./seal-check.ts";
import type { SealKeys } from "./seal-keys.ts";

/** Tells where the audit stands at an interval, sealed where there is a key. */
export interface Sealer {
  /** When the newest seal was made that this relay knows of; undefined before the first. */
  readonly sealedAt: Date | undefined;
  /** Checks what came since the last time, seals it and tells it. Never rejects. */
  seal(options?: { readonly evenIfFresh?: boolean }): Promise<void>;
  run(options: { readonly signal: AbortSignal }): Promise<void>;
}

export interface SealerDeps {
  readonly store: Store;
  readonly log: Logger;
  readonly clock: Clock;
  /** A relay without a key tells heads that are not sealed. */
  readonly keys: SealKeys | undefined;
}

const PAGE = 1_000;
/** Of the interval: a seal of another relay that is younger does for this one as well. */
const FRESH_SHARE = 1 / 2;

/**
 * Makes the sealer of a relay. It never seals what it has not checked: each time it goes on from the head that it
 * checked the last time and keeps in its own memory, so that a store changed meanwhile is found out.
 */
export function createSealer({ intervalMs }: { readonly intervalMs: number }, deps: SealerDeps): Sealer {
  const { store, log, clock, keys } = deps;
  const { db, relayId } = store;
  let checked: ChainHead | undefined;
  let sealedAt: Date | undefined;

  const broken = (text: string): ConnectError => new ConnectError("CC_AUDIT_BROKEN", `The audit is not whole: ${text}`);

  /** This process's last head, else the newest seal of another one. */
  function startOf(newest: HeadSeal | undefined, anchor: ChainHead): ChainHead {
    const start = checked ?? newest ?? anchor;
    if (start.sequence >= anchor.sequence) return start;
    // The head of an interval ago is too young for any retention.
    if (checked !== undefined) throw broken(`entries ${start.sequence} to ${anchor.sequence} are gone`);
    const young = newest && removedTooSoon([newest], anchor, new Date(clock.now()));
    if (young !== undefined) throw broken(young.text);
    const text = "no seal is as young as what retention has left of the audit";
    log.error({ event: "audit.seal.gap", sealedUpTo: start.sequence, removedUpTo: anchor.sequence }, text);
    return anchor;
  }

  /** A holder of the key may let the audit begin anew while this relay runs. */
  async function takeBeginning(anchor: ChainHead, known: SealKeys): Promise<void> {
    const begun = await readBeginning(db, anchor);
    if (begun === undefined || (await judgeBeginning(begun, { keys: known, relayId })) !== undefined) return;
    checked = undefined;
    log.warn({ event: "audit.begun", sequence: begun.sequence, fault: begun.fault }, "the audit was begun anew");
  }

  /** @throws ConnectError `CC_AUDIT_BROKEN`. */
  async function checkOn(newest: HeadSeal | undefined, known: SealKeys): Promise<ChainHead> {
    if (newest !== undefined) {
      // A key that this relay does not know is one that another relay seals with by now, or a stranger's.
      const judged = await judgeSeal(newest, { keys: known, relayId });
      if (!judged.ok) throw broken(judged.text);
    }
    const recorded = (await readAuditHead(db)) ?? EMPTY_CHAIN;
    const anchor = await readAuditAnchor(db);
    if (checked !== undefined && checked.sequence <= anchor.sequence) await takeBeginning(anchor, known);
    let head = startOf(newest, anchor);
    const change = head.sequence === 0 ? undefined : await compareHead({ ...NO_SEAL, ...head }, anchor, db);
    if (change !== undefined) throw broken(change.text);
    for (;;) {
      const page = await readAuditEntries(db, { after: head.sequence, limit: PAGE });
      const verdict = verifyChain(head, page);
      if (!verdict.ok) throw broken(verdict.text);
      head = verdict.head;
      if (page.length < PAGE) break;
    }
    if (head.sequence < recorded.sequence)
      throw broken(`entries ${head.sequence + 1} to ${recorded.sequence} are cut off`);
    checked = head;
    return head;
  }

  async function sealHead(head: ChainHead, newest: HeadSeal | undefined, { current }: SealKeys): Promise<void> {
    const now = new Date(clock.now());
    const fields = { sequence: head.sequence, hash: head.hash, at: now.toISOString() };
    if (current.seal === undefined) return;
    const text = await current.seal(sealedText(fields, relayId));
    const seal = { ...fields, algorithm: current.algorithm, keyId: current.id, seal: text };
    if (!(await appendSeal(db, seal, { former: newest, now }))) return;
    sealedAt = now;
    log.info({ event: "audit.sealed", head: seal }, "the head of the audit is sealed");
  }

  async function seal({ evenIfFresh = false }: { readonly evenIfFresh?: boolean } = {}): Promise<void> {
    try {
      if (keys === undefined) {
        const { sequence, hash } = (await readAuditHead(db)) ?? EMPTY_CHAIN;
        log.info({ event: "audit.head", sequence, hash }, "the head of the audit, which nothing seals");
        return;
      }
      const newest = await readNewestSeal(db);
      const head = await checkOn(newest, keys);
      if (newest !== undefined) {
        sealedAt = new Date(newest.at);
        const isFresh = clock.now() - sealedAt.getTime() < intervalMs * FRESH_SHARE;
        if (isFresh && !evenIfFresh) return;
      }
      await sealHead(head, newest, keys);
    } catch (error) {
      log.error({ event: "audit.seal.failed", ...errorFields(error) }, "the audit was not sealed");
    }
  }

  return {
    get sealedAt() {
      return sealedAt;
    },
    seal,
    run: ({ signal }) => repeat(() => seal(), { intervalMs, signal }, { clock }),
  };
}

/** Fields of a head that was noted without a seal. */
const NO_SEAL = { at: "the last look", algorithm: "", keyId: "", seal: "" } as const;
