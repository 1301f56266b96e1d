import { type Clock, raceAbort } from "@cluster-connect/base";
import type { Logger, Metrics } from "@cluster-connect/service";
import { z } from "zod";
import { readSigningSecret } from "../notify/secret.ts";
import type { Store } from "../store/store.ts";
import { type AuditLog, type AuditPolicy, createAuditLog } from "./audit-log.ts";
import { createFileSink } from "./file-sink.ts";
import { runRetention } from "./retention.ts";
import { openSealKeys, SEAL_SCHEMA, type SealSettings } from "./seal-keys.ts";
import { createSealer, type Sealer } from "./sealer.ts";
import { type AuditSink, feedSink, runSink } from "./sink.ts";
import { createWebhookSink } from "./webhook-sink.ts";

/** Sinks of the audit beside the store, and the policy when they cannot take it. */
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
  /** Seals the head at an interval; without it heads are only told. */
  readonly seal?: SealSettings | undefined;
}

export const AUDIT_SCHEMA: z.ZodType<AuditSettings> = z
  .strictObject({
    whenFull: z.enum(["block", "drop"]).default("block"),
    maxBehind: z.int().min(10).max(10_000_000).default(100_000),
    retentionDays: z.int().min(1).max(36_500).optional(),
    file: z.string().min(1).optional(),
    webhook: z.strictObject({ url: z.url({ protocol: /^https?$/ }), secretFile: z.string().min(1) }).optional(),
    seal: SEAL_SCHEMA.optional(),
  })
  .prefault({});

/** The audit of a running relay, with its sinks. */
export interface RunningAudit {
  readonly audit: AuditLog;
  run(options: { readonly signal: AbortSignal }): Promise<void>;
  /** Writes what is left, seals it, and hands it to the sinks. */
  close(): Promise<void>;
}

/** How often heads that nothing seals are told. */
const TELL_INTERVAL_MS = 3_600_000;
/** How long the end of a relay waits for a sink. */
const LAST_FEED_MS = 2_000;

/** @throws ConnectError `CC_FILE_MISSING`, `CC_FILE_UNREADABLE` or `CC_CONFIG_INVALID` of the webhook's secret and the seal's keys. */
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
    const secret = await readSigningSecret("audit.webhook.secretFile", secretFile);
    sinks.push(createWebhookSink({ url, secret }, { store, fetch, now: clock.now }));
  }
  const sealer = await openSealer(settings.seal, deps);
  // There from the start: an increase is seen only from a value on that was there before.
  for (const { name } of sinks) dropped.inc({ sink: name }, 0);
  return {
    audit,
    async run({ signal }) {
      const running = sinks.map((sink) => {
        const onDropped = (entries: number): void => dropped.inc({ sink: sink.name }, entries);
        return runSink(sink, { policy, maxBehind, signal }, { ...deps, audit, onDropped });
      });
      // Before any entry goes: the first check begins at the newest seal.
      await sealer.seal();
      const { retentionDays } = settings;
      if (retentionDays !== undefined) running.push(runRetention({ retentionDays, signal }, { ...deps, sinks }));
      await Promise.all([audit.run({ signal }), sealer.run({ signal }), ...running]);
    },
    async close() {
      await audit.flush();
      await sealer.seal({ evenIfFresh: true });
      await feedAtEnd(sinks, deps);
    },
  };
}

/** The sinks get the last entries now, as far as they take them in time; a relay that starts again gives them the rest. */
async function feedAtEnd(
  sinks: readonly AuditSink[],
  deps: { readonly store: Store; readonly clock: Clock },
): Promise<void> {
  const late = new AbortController();
  const timer = deps.clock.setTimer(LAST_FEED_MS, () => late.abort());
  const { signal } = late;
  const fed = sinks.map((sink) => feedSink(sink, { signal }, deps).catch(() => undefined));
  await raceAbort(Promise.all(fed), signal).catch(() => undefined);
  timer.cancel();
}

async function openSealer(
  settings: SealSettings | undefined,
  deps: { readonly store: Store; readonly clock: Clock; readonly log: Logger; readonly metrics: Metrics },
): Promise<Sealer> {
  const { clock, metrics } = deps;
  const keys = settings === undefined ? undefined : await openSealKeys(settings);
  const intervalMs = settings === undefined ? TELL_INTERVAL_MS : settings.intervalMinutes * 60_000;
  const sealer = createSealer({ intervalMs }, { ...deps, keys });
  if (keys !== undefined) {
    const startedAt = clock.now();
    const help = "Seconds since the newest seal of the audit, or since the start without one.";
    metrics.observe(
      "audit_seal_age_seconds",
      help,
      () => (clock.now() - (sealer.sealedAt?.getTime() ?? startedAt)) / 1_000,
    );
  }
  return sealer;
}
