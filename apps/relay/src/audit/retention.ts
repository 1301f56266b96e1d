import { type Clock, repeat } from "@cluster-connect/base";
import { errorFields, type Logger } from "@cluster-connect/service";
import { pruneAudit } from "../store/queries/audit.ts";
import type { Store } from "../store/store.ts";
import type { AuditSink } from "./sink.ts";

const DAY_MS = 86_400_000;
const INTERVAL_MS = 6 * 3_600_000;

/**
 * Removes entries that are older than the settings want, now and then until the signal is aborted. One that a sink of this
 * relay has not got yet stays until it has.
 */
export function runRetention(
  options: { readonly retentionDays: number; readonly intervalMs?: number; readonly signal: AbortSignal },
  deps: {
    readonly store: Store;
    readonly sinks: readonly Pick<AuditSink, "cursor">[];
    readonly log: Logger;
    readonly clock: Clock;
  },
): Promise<void> {
  const { retentionDays, intervalMs = INTERVAL_MS, signal } = options;
  const { store, sinks, log, clock } = deps;
  const prune = async (): Promise<void> => {
    try {
      while (!signal.aborted) {
        const upTo = Math.min(...(await Promise.all(sinks.map((sink) => sink.cursor()))), Number.MAX_SAFE_INTEGER);
        const before = new Date(clock.now() - retentionDays * DAY_MS);
        const entries = await pruneAudit(store.db, { before, upTo }, new Date(clock.now()));
        if (entries === 0) return;
        log.info({ event: "audit.pruned", entries, before: before.toISOString() }, "old audit entries removed");
      }
    } catch (error) {
      log.error({ event: "audit.retention.failed", ...errorFields(error) }, "old audit entries could not be removed");
    }
  };
  return repeat(prune, { intervalMs, signal }, { clock });
}
