import { type Clock, repeat } from "@cluster-connect/base";
import { errorFields, type Logger } from "@cluster-connect/service";
import { readAuditHead } from "../store/queries/audit.ts";
import type { ChainedEntry } from "../store/queries/audit-chain.ts";
import { readAuditEntries } from "../store/queries/audit-entries.ts";
import type { Store } from "../store/store.ts";
import type { AuditLog, AuditPolicy } from "./audit-log.ts";

/** Somewhere else that gets every entry, in order, at least once. The audit itself is the queue. */
export interface AuditSink {
  readonly name: string;
  /** The last entry it has. */
  cursor(): Promise<number>;
  /** Takes entries that follow the cursor. @throws when it could not; they come again. */
  write(entries: readonly ChainedEntry[]): Promise<void>;
  /** Leaves entries out: the next one is the one after `sequence`. */
  skip(sequence: number): Promise<void>;
}

export interface SinkOptions {
  readonly policy: AuditPolicy;
  /** So many entries behind, and the policy applies. */
  readonly maxBehind: number;
}

export interface SinkDeps {
  readonly store: Store;
  readonly audit: Pick<AuditLog, "block">;
  readonly log: Logger;
  readonly clock: Clock;
  readonly onDropped: (entries: number) => void;
}

const INTERVAL_MS = 1_000;
const BATCH_SIZE = 500;

/**
 * Gives a sink all entries that it does not have.
 *
 * @param options Between two batches the signal ends it.
 * @throws what the sink throws when it could not take them.
 */
export async function feedSink(
  sink: AuditSink,
  { signal }: { readonly signal: AbortSignal },
  { store }: { readonly store: Store },
): Promise<void> {
  for (;;) {
    const entries = await readAuditEntries(store.db, { after: await sink.cursor(), limit: BATCH_SIZE });
    if (entries.length > 0) await sink.write(entries);
    if (entries.length < BATCH_SIZE || signal.aborted) return;
  }
}

/** Feeds a sink until the signal is aborted. */
export function runSink(
  sink: AuditSink,
  options: SinkOptions & { readonly intervalMs?: number; readonly signal: AbortSignal },
  deps: SinkDeps,
): Promise<void> {
  let failing = false;
  const feed = async (): Promise<void> => {
    try {
      await feedSink(sink, options, deps);
      deps.audit.block(sink.name, undefined);
      if (failing) deps.log.info({ event: "audit.sink.back", sink: sink.name }, "the audit's sink takes entries again");
      failing = false;
    } catch (error) {
      if (!failing) {
        deps.log.error({ event: "audit.sink.failed", sink: sink.name, ...errorFields(error) }, "an audit sink failed");
      }
      failing = true;
      await applyPolicy(sink, options, deps).catch(() => undefined);
    }
  };
  const { intervalMs = INTERVAL_MS, signal } = options;
  return repeat(feed, { intervalMs, signal }, deps);
}

async function applyPolicy(sink: AuditSink, { policy, maxBehind }: SinkOptions, deps: SinkDeps): Promise<void> {
  const head = (await readAuditHead(deps.store.db))?.sequence ?? 0;
  const behind = head - (await sink.cursor());
  if (behind <= maxBehind) return;
  if (policy === "block") {
    deps.audit.block(sink.name, `The audit's ${sink.name} is ${behind} entries behind`);
    return;
  }
  const left = Math.floor(maxBehind / 2);
  await sink.skip(head - left);
  deps.onDropped(behind - left);
  deps.log.error({ event: "audit.sink.dropped", sink: sink.name, entries: behind - left }, "audit entries left out");
}
