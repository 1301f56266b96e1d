import { ConnectError } from "@cluster-connect/protocol";
import { type Clock, errorFields, type Logger, repeat } from "@cluster-connect/service";
import { type AuditEntry, recordAuditEntries } from "../store/audit.ts";
import type { Store } from "../store/store.ts";

/** What happens when entries cannot be kept: take no new work, or go on and count what is lost. */
export type AuditPolicy = "block" | "drop";

/** Writes what a running relay sees into the audit: in batches, so that nobody waits for it. */
export interface AuditLog {
  record(entry: AuditEntry): void;
  /**
   * Notes a refusal; equal ones of the same moment become one entry with a count. What differs in them is for whoever is
   * refused to choose, so beyond some of a moment only event, actor and code are told apart, and a flood stays small.
   */
  refused(entry: AuditEntry): void;
  /** @throws ConnectError `CC_AUDIT_FULL` while no new work may be taken, because it could not be written down. */
  assertAccepting(): void;
  /** Entries that wait for the store. */
  readonly pending: number;
  readonly dropped: number;
  /** Somebody else, such as a sink that is behind, keeps new work from being taken; undefined ends that. */
  block(who: string, reason: string | undefined): void;
  flush(): Promise<void>;
  run(options: { readonly intervalMs?: number; readonly signal: AbortSignal }): Promise<void>;
}

const INTERVAL_MS = 500;
const BATCH_SIZE = 500;
const MAX_PENDING_ENTRIES = 10_000;
/** Refusals between two writes that are told apart by all they say. */
const MAX_DISTINCT_REFUSALS = 100;

export function createAuditLog(
  options: { readonly whenFull: AuditPolicy; readonly maxPending?: number },
  deps: { readonly store: Store; readonly log: Logger; readonly clock: Clock },
): AuditLog {
  const { whenFull, maxPending = MAX_PENDING_ENTRIES } = options;
  const queue: { entry: AuditEntry; count: number }[] = [];
  const refusals = new Map<string, { entry: AuditEntry; count: number }>();
  const blockers = new Map<string, string>();
  let dropped = 0;
  let failing = false;

  const add = (item: { entry: AuditEntry; count: number }): boolean => {
    // What was let in under `block` is still written, as far as it goes: the queue has a limit whatever happens.
    if (queue.length >= maxPending) {
      dropped += 1;
      return false;
    }
    queue.push(item);
    return true;
  };

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
        await deps.store.db.transaction().execute((transaction) => recordAuditEntries(transaction, entries));
        queue.splice(0, batch.length);
      }
      if (failing) deps.log.info({ event: "audit.written" }, "the audit is written again");
      failing = false;
    } catch (error) {
      if (!failing) deps.log.error({ event: "audit.failed", ...errorFields(error) }, "the audit could not be written");
      failing = true;
    }
  }

  return {
    record: (entry) => void add({ entry, count: 1 }),
    refused(entry) {
      if (noteAgain(entry)) return;
      const { event, actor, at } = entry;
      const told =
        refusals.size < MAX_DISTINCT_REFUSALS ? entry : { event, actor, at, code: entry["code"], more: true };
      if (told !== entry && noteAgain(told)) return;
      const item = { entry: told, count: 1 };
      if (add(item)) refusals.set(keyOf(told), item);
    },
    assertAccepting() {
      if (whenFull === "block" && queue.length >= maxPending) throw full("The audit cannot be written");
      const [reason] = blockers.values();
      if (reason !== undefined) throw full(reason);
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
    run: ({ intervalMs = INTERVAL_MS, signal }) => repeat(flush, { intervalMs, signal }, deps.clock),
  };
}

/** All that a refusal says, but for the moment. */
function keyOf({ at: _, ...same }: AuditEntry): string {
  return JSON.stringify(same);
}

function full(reason: string): ConnectError {
  return new ConnectError("CC_AUDIT_FULL", reason, { retryAfterMs: 5_000 });
}
