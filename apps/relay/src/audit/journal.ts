import { type Clock, type Release, repeat } from "@cluster-connect/base";
import type { Caller } from "@cluster-connect/protocol";
import { errorFields, type Logger } from "@cluster-connect/service";
import {
  noteRun,
  type OpenEnd,
  type OpenEndRow,
  removeOpenEnds,
  removeRun,
  writeLostEnds,
  writeOpenEnds,
} from "../store/audit/open-ends.ts";
import type { Store } from "../store/store.ts";

/** Bytes that have passed so far. */
export interface PassedBytes {
  readonly upBytes: number;
  readonly downBytes: number;
}

/**
 * Keeps what the audit would say of streams and sessions that are open, in the store, so that a relay that is killed owes
 * no end: another one, or the next start, writes it. No stream waits for it.
 */
export interface EndJournal {
  /** Keeps an end until it is released; one that comes within a moment never gets to the store. */
  open(entry: OpenEnd, progress: () => PassedBytes): Release;
  flush(): Promise<void>;
  run(options: { readonly intervalMs?: number; readonly signal: AbortSignal }): Promise<void>;
  /** This process owes no end any more. */
  close(): Promise<void>;
}

export interface JournalDeps {
  readonly store: Pick<Store, "db" | "dialect">;
  /** Names this process; each start has another. */
  readonly runId: string;
  readonly newId: () => string;
  readonly log: Logger;
  readonly clock: Clock;
}

/** The parts of a principal that the audit names. */
export function actorOf({ issuer, subject, username }: Caller): Pick<Caller, "issuer" | "subject" | "username"> {
  return { issuer, subject, username };
}

const INTERVAL_MS = 1_000;
/** Turns between two looks at the bytes, and at other relays. */
const SLOW_TURNS = 10;
/** A relay whose row was not renewed for so long has ended. */
export const LOST_AFTER_MS = 60_000;

interface Kept {
  readonly entry: OpenEnd;
  readonly progress: () => PassedBytes;
  /** Bytes in the store; undefined where a write is due. */
  written: PassedBytes | undefined;
  /** Whether the store may have it. */
  mayBeStored: boolean;
}

export function createEndJournal({ store, runId, newId, log, clock }: JournalDeps): EndJournal {
  const kept = new Map<string, Kept>();
  /** Ids that the store may have, of what has ended since the last turn, and before: their ends are in the audit by now. */
  let endedLately: string[] = [];
  let ended: string[] = [];
  let turn = 0;
  let failing = false;

  /** New ones, and with `withBytes` those that have moved. */
  const rowsToWrite = (withBytes: boolean): readonly OpenEndRow[] =>
    [...kept].flatMap(([id, { entry, progress, written }]) => {
      if (written !== undefined && !withBytes) return [];
      const { upBytes, downBytes } = progress();
      if (written?.upBytes === upBytes && written.downBytes === downBytes) return [];
      return [{ id, entry, upBytes, downBytes }];
    });

  async function write(withBytes: boolean): Promise<void> {
    const rows = rowsToWrite(withBytes);
    // Before they are written: one that ends meanwhile is removed the next time.
    for (const { id, upBytes, downBytes } of rows) {
      const one = kept.get(id);
      if (one !== undefined) Object.assign(one, { written: { upBytes, downBytes }, mayBeStored: true });
    }
    await writeOpenEnds(store.db, runId, rows);
    await removeOpenEnds(store.db, ended);
    ended = endedLately;
    endedLately = [];
  }

  async function tellLost(): Promise<void> {
    const options = { own: runId, lostAfterMs: LOST_AFTER_MS, now: new Date(clock.now()) };
    for (const { run, seenAt, ends } of await writeLostEnds(store, options)) {
      log.warn({ event: "relay.lost", run, seenAt, ends }, "a relay ended without a word; its open ends are written");
    }
  }

  async function flush(): Promise<void> {
    const isSlow = turn % SLOW_TURNS === 0;
    turn += 1;
    try {
      if (isSlow) {
        await noteRun(store, runId);
        await tellLost();
      }
      await write(isSlow);
      failing = false;
    } catch (error) {
      // Rows that could not be written count as new again.
      for (const one of kept.values()) one.written = undefined;
      if (!failing) log.error({ event: "audit.journal.failed", ...errorFields(error) }, "open ends could not be kept");
      failing = true;
    }
  }

  return {
    open(entry, progress) {
      const id = newId();
      kept.set(id, { entry, progress, written: undefined, mayBeStored: false });
      return () => {
        const one = kept.get(id);
        if (one?.mayBeStored === true) endedLately.push(id);
        kept.delete(id);
      };
    },
    flush,
    run: ({ intervalMs = INTERVAL_MS, signal }) => repeat(flush, { intervalMs, signal }, { clock }),
    async close() {
      try {
        for (const _ of ["ended", "ended lately"]) await write(false);
        if (kept.size === 0) await removeRun(store.db, runId);
      } catch (error) {
        log.error({ event: "audit.journal.failed", ...errorFields(error) }, "open ends could not be kept");
      }
    },
  };
}
