import { type Clock, type Logger, type Metrics, readSettingFile } from "@cluster-connect/service";
import { z } from "zod";
import type { Store } from "../store/store.ts";
import { type AuditLog, type AuditPolicy, createAuditLog } from "./audit-log.ts";
import { createFileSink } from "./file-sink.ts";
import { runRetention } from "./retention.ts";
import { type AuditSink, runSink } from "./sink.ts";
import { createWebhookSink } from "./webhook-sink.ts";

/** Where the audit goes beside the store, and what happens when it cannot. */
export interface AuditSettings {
  /** `block`: take no new session or stream; `drop`: go on and count. */
  readonly whenFull: AuditPolicy;
  /** How many entries a sink may be behind before that applies to it. */
  readonly maxBehind: number;
  /** Entries that are older are removed from the store; without it none is. */
  readonly retentionDays?: number | undefined;
  /** A file with one JSON line per entry. */
  readonly file?: string | undefined;
  readonly webhook?: { readonly url: string; readonly secretFile: string } | undefined;
}

export const AUDIT_SCHEMA: z.ZodType<AuditSettings> = z
  .strictObject({
    whenFull: z.enum(["block", "drop"]).default("block"),
    maxBehind: z.int().min(10).max(10_000_000).default(100_000),
    retentionDays: z.int().min(1).max(36_500).optional(),
    file: z.string().min(1).optional(),
    webhook: z.strictObject({ url: z.url({ protocol: /^https?$/ }), secretFile: z.string().min(1) }).optional(),
  })
  .prefault({});

/** The audit of a running relay, with its sinks. */
export interface RunningAudit {
  readonly audit: AuditLog;
  run(options: { readonly signal: AbortSignal }): Promise<void>;
}

/** @throws ConnectError `CC_FILE_MISSING` or `CC_FILE_UNREADABLE` for the webhook's secret. */
export async function openAudit(
  settings: AuditSettings,
  deps: { readonly store: Store; readonly clock: Clock; readonly log: Logger; readonly metrics: Metrics },
): Promise<RunningAudit> {
  const { metrics, store, clock } = deps;
  const { whenFull: policy, maxBehind } = settings;
  const audit = createAuditLog({ whenFull: policy }, deps);
  const dropped = metrics.counter("audit_sink_dropped_total", "Audit entries that a sink did not get.", ["sink"]);
  metrics.observe("audit_pending", "Audit entries that wait for the store.", () => audit.pending);
  metrics.observe("audit_dropped", "Audit entries that were lost because the store was away.", () => audit.dropped);
  const sinks: AuditSink[] = [];
  if (settings.file !== undefined) sinks.push(createFileSink(settings.file));
  if (settings.webhook !== undefined) {
    const { url, secretFile } = settings.webhook;
    const secret = (await readSettingFile("audit.webhook.secretFile", secretFile)).trim();
    sinks.push(createWebhookSink({ url, secret }, { store, fetch, now: clock.now }));
  }
  // There from the start: an increase is seen only from a value on that was there before.
  for (const { name } of sinks) dropped.inc({ sink: name }, 0);
  return {
    audit,
    async run({ signal }) {
      const running = sinks.map((sink) => {
        const onDropped = (entries: number): void => dropped.inc({ sink: sink.name }, entries);
        return runSink(sink, { policy, maxBehind, signal }, { ...deps, audit, onDropped });
      });
      const { retentionDays } = settings;
      if (retentionDays !== undefined) running.push(runRetention({ retentionDays, signal }, { ...deps, sinks }));
      await Promise.all([audit.run({ signal }), ...running]);
      await audit.flush();
    },
  };
}
