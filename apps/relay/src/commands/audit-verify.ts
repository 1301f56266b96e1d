import { readNotedHeads } from "../audit/heads.ts";
import { openSealKeys, readAuditorKeys, type SealKeys } from "../audit/seal-keys.ts";
import { describeAudit, requireAudit } from "../audit/verify.ts";
import { loadRelayConfig } from "../config.ts";
import type { Store } from "../store/store.ts";
import type { Command } from "./command-line.ts";

type VerifyCommand = Extract<Command, { readonly kind: "auditVerify" }>;

/** Longest time without a seal where no settings say at which interval a relay seals. */
const DEFAULT_INTERVAL_MINUTES = 60;
/** So many intervals, and one that was left out, or a relay that was restarted, is no fault. */
const MAX_INTERVALS = 3;

/**
 * Verifies the audit of a store by keys and heads that were kept elsewhere.
 *
 * @throws ConnectError `CC_AUDIT_BROKEN`, or of a file or the settings.
 */
export async function verifyAuditCommand(
  store: Store,
  { expected, headsFile, sealKeyFiles, output, where }: VerifyCommand,
  { env }: { readonly env: Readonly<Record<string, string | undefined>> },
): Promise<string> {
  const heads = headsFile === undefined ? [] : await readNotedHeads(headsFile);
  const hasSettings = where.dataDir === undefined || where.configFile !== undefined;
  const settings = hasSettings ? (await loadRelayConfig({ file: where.configFile, env })).audit.seal : undefined;
  const keys = await keysOf(sealKeyFiles, settings);
  const minutes = settings?.intervalMinutes ?? DEFAULT_INTERVAL_MINUTES;
  const maxUnsealedMs = minutes * 60_000 * MAX_INTERVALS;
  const now = new Date();
  const seals = keys && { keys, relayId: store.relayId, now, maxUnsealedMs };
  return describeAudit(await requireAudit(store.db, { expected, heads, seals, now }), output);
}

async function keysOf(
  files: readonly string[],
  settings: Parameters<typeof openSealKeys>[0] | undefined,
): Promise<SealKeys | undefined> {
  const named = await readAuditorKeys(files);
  return named ?? (settings && (await openSealKeys(settings)));
}
