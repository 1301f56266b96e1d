import { type Clock, repeat } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import { errorFields, type Logger } from "@cluster-connect/service";
import { type AuditEntry, chainedActor, recordAuditEntries } from "../store/queries/audit.ts";
import type { Store } from "../store/store.ts";

/** The choice when entries cannot be kept: take no new work, or go on and count the lost entries. */
export type AuditPolicy = "block" | "drop";

/** Writes a running relay's events into the audit, in batches, so that no request waits for it. */
export interface AuditLog {
  record(entry: AuditEntry): void;
  /** Notes the end of a stream. Such entries have a bound of their own: all streams of a relay may end at once. */
  stream(entry: AuditEntry): void;
  /**
   * Notes a refusal; equal ones of the same moment become one entry with a count. The refused party chooses the rest.
   * Beyond some of a moment only event, actor and code are told apart, so a flood stays small.
   */
  refused(entry: AuditEntry): void;
  /** @throws ConnectError `CC_AUDIT_FULL` while no new work may be taken, because it could not be written down. */
  assertAccepting(): void;
  /** Entries that wait for the store. */
  readonly pending: number;
  readonly dropped: number;
  /** Lets another part, such as a sink that is behind, keep new work from being taken; undefined ends that. */
  block(who: string, reason: string | undefined): void;
  flush(): Promise<void>;
  run(options: { readonly intervalMs?: number; readonly signal: AbortSignal }): Promise<void>;
}

const INTERVAL_MS = 500;
const BATCH_SIZE = 500;
const MAX_PENDING_ENTRIES = 10_000;
/** Ends of streams that may wait, for each other entry that may. Twice as many as a relay has streams. */
const STREAMS_PER_PENDING = 10;
/** Refusals between two writes that are told apart by all they say. */
const MAX_DISTINCT_REFUSALS = 100;

interface QueuedEntry {
  readonly entry: AuditEntry;
  count: number;
  readonly isStream: boolean;
}

export function createAuditLog(
  options: { readonly whenFull: AuditPolicy; readonly maxPending?: number },
  deps: { readonly store: Store; readonly log: Logger; readonly clock: Clock },
): AuditLog {
  const { whenFull, maxPending = MAX_PENDING_ENTRIES } = options;
  const queue: QueuedEntry[] = [];
  const refusals = new Map<string, QueuedEntry>();
  const blockers = new Map<string, string>();
  let streams = 0;
  let dropped = 0;
  /** Dropped entries that the audit itself does not tell of yet. */
  let untold = 0;
  let failing = false;

  const add = (item: QueuedEntry): boolean => {
    const isFull = item.isStream ? streams >= maxPending * STREAMS_PER_PENDING : queue.length - streams >= maxPending;
    // Entries let in under `block` are still written, up to the limit that the queue always has.
    if (isFull) {
      if (untold === 0) deps.log.error({ event: "audit.dropped" }, "audit entries are lost, as too many wait");
      dropped += 1;
      untold += 1;
      return false;
    }
    queue.push(item);
    if (item.isStream) streams += 1;
    return true;
  };

  const write = async (entries: readonly AuditEntry[]): Promise<void> =>
    await deps.store.db.transaction().execute((transaction) => recordAuditEntries(transaction, entries));

  async function tellDropped(): Promise<void> {
    const entries = untold;
    if (entries === 0) return;
    await write([{ event: "audit.dropped", actor: "relay", at: new Date(deps.clock.now()), entries }]);
    untold -= entries;
  }

  /** @returns whether the same waits to be written. */
  function noteAgain(entry: AuditEntry): boolean {
    const known = refusals.get(keyOf(entry));
    if (known === undefined) return false;
    known.count += 1;
    return true;
  }

  async function flush(): Promise<void> {
    try {
      while (queue.length > 0) {
        const batch = queue.slice(0, BATCH_SIZE);
        refusals.clear();
        const entries = batch.map(({ entry, count }) => (count === 1 ? entry : { ...entry, count }));
        await write(entries);
        queue.splice(0, batch.length);
        streams -= batch.filter(({ isStream }) => isStream).length;
      }
      await tellDropped();
      if (failing) deps.log.info({ event: "audit.written" }, "the audit is written again");
      failing = false;
    } catch (error) {
      if (!failing) deps.log.error({ event: "audit.failed", ...errorFields(error) }, "the audit could not be written");
      failing = true;
    }
  }

  return {
    record: (entry) => void add({ entry, count: 1, isStream: false }),
    stream: (entry) => void add({ entry, count: 1, isStream: true }),
    refused(entry) {
      if (noteAgain(entry)) return;
      const { event, actor, at } = entry;
      const told =
        refusals.size < MAX_DISTINCT_REFUSALS ? entry : { event, actor, at, code: entry["code"], more: true };
      if (told !== entry && noteAgain(told)) return;
      const item = { entry: told, count: 1, isStream: false };
      if (add(item)) refusals.set(keyOf(told), item);
    },
    assertAccepting() {
      const isFull = queue.length - streams >= maxPending || streams >= maxPending;
      if (whenFull === "block" && isFull) throw auditFull("The audit cannot be written");
      const [reason] = blockers.values();
      if (reason !== undefined) throw auditFull(reason);
    },
    get pending() {
      return queue.length;
    },
    get dropped() {
      return dropped;
    },
    block(who, reason) {
      if (reason === undefined) blockers.delete(who);
      else blockers.set(who, reason);
    },
    flush,
    run: ({ intervalMs = INTERVAL_MS, signal }) => repeat(flush, { intervalMs, signal }, deps),
  };
}

/** All that a refusal says, but for the moment. */
function keyOf({ at: _, actor, ...same }: AuditEntry): string {
  return JSON.stringify([chainedActor(actor), same]);
}

function auditFull(reason: string): ConnectError {
  return new ConnectError("CC_AUDIT_FULL", reason, { retryAfterMs: 5_000 });
}
