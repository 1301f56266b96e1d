import { createHash } from "node:crypto";
import { type FileHandle, open, rm } from "node:fs/promises";
import { systemCode } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import { lastSequence } from "../audit/file-sink.ts";
import { openSealKeys, type SealKeys } from "../audit/seal-keys.ts";
import { describeBeginning, verifyAudit } from "../audit/verify.ts";
import { loadRelayConfig } from "../config.ts";
import { type Beginning, beginAuditAnew, beginningText, type FormerAuditKeeper } from "../store/audit/beginning.ts";
import { readAuditEntries } from "../store/queries/audit-entries.ts";
import { readNewestSeal, SEALED_EVENT } from "../store/queries/audit-seals.ts";
import type { Store } from "../store/store.ts";
import type { Command } from "./command-line.ts";

type BeginCommand = Extract<Command, { readonly kind: "auditBegin" }>;
type Seal = NonNullable<Parameters<typeof beginAuditAnew>[1]["seal"]>;

/**
 * Begins an audit anew that is not whole, as an administrator has decided.
 *
 * @throws ConnectError `CC_USAGE` for an audit that is whole, `CC_CONFIG_INVALID` for one that was sealed where no key
 *   is at hand, `CC_FILE_UNREADABLE` for a file that is there already or cannot be written.
 */
export async function beginAuditCommand(
  store: Store,
  { keepFile, reason, output, where }: BeginCommand,
  { env }: { readonly env: Readonly<Record<string, string | undefined>> },
): Promise<string> {
  const hasSettings = where.dataDir === undefined || where.configFile !== undefined;
  const settings = hasSettings ? (await loadRelayConfig({ file: where.configFile, env })).audit : undefined;
  const keys = settings?.seal && (await openSealKeys(settings.seal));
  const now = new Date();
  const { fault, text } = await requireBroken(store, keys, now);
  if (keys === undefined) await refuseSealed(store);
  const after = settings?.file === undefined ? 0 : await lastSequence(settings.file);
  const begun = await keepAndBegin(keepFile, (keep) =>
    beginAuditAnew(store.db, {
      now,
      reason,
      fault,
      text,
      after,
      relayId: store.relayId,
      keep,
      seal: keys && sealBy(keys, store.relayId),
    }),
  );
  return output === "json" ? JSON.stringify({ begun, keptIn: keepFile }) : describe(begun, keepFile);
}

/** An audit that is whole is evidence that nobody gives up by a slip of the hand. */
async function requireBroken(
  store: Store,
  keys: SealKeys | undefined,
  now: Date,
): Promise<{ readonly fault: string; readonly text: string }> {
  // Entries that wait for their seal, as the relay does not run, are no break.
  const maxUnsealedMs = Number.POSITIVE_INFINITY;
  const seals = keys && { keys, relayId: store.relayId, now, maxUnsealedMs };
  const verdict = await verifyAudit(store.db, { seals, now });
  if (!verdict.ok) return verdict;
  throw new ConnectError("CC_USAGE", "The audit is whole: there is nothing to begin anew", {
    hint: "`audit verify` says so, too; entries go by age where audit.retentionDays is set.",
  });
}

/** Without the key a beginning would be worth as little as one that an intruder makes. */
async function refuseSealed({ db }: Store): Promise<void> {
  const seals = await readAuditEntries(db, { event: SEALED_EVENT, limit: 1 });
  if (seals.length === 0 && (await readNewestSeal(db)) === undefined) return;
  throw new ConnectError("CC_CONFIG_INVALID", "The audit was sealed, so its new beginning needs the key", {
    hint: "Name the relay's settings by --config; their audit.seal has the key.",
  });
}

function sealBy({ current }: SealKeys, relayId: string): Seal | undefined {
  const { seal, algorithm, id } = current;
  if (seal === undefined) return undefined;
  return async (head) => ({ ...head, algorithm, keyId: id, seal: await seal(beginningText(head, relayId)) });
}

/** The file is gone again when nothing was begun. */
async function keepAndBegin(path: string, begin: (keep: FormerAuditKeeper) => Promise<Beginning>): Promise<Beginning> {
  const file = await open(path, "wx", 0o600).catch((error: unknown) => {
    const why = systemCode(error) === "EEXIST" ? "is there already" : `cannot be made: ${systemCode(error)}`;
    const hint = "Name a file that is not there yet, in a folder that you may write to.";
    throw new ConnectError("CC_FILE_UNREADABLE", `--keep: ${path} ${why}`, { hint });
  });
  try {
    const begun = await begin(keeperOf(file));
    await file.close();
    return begun;
  } catch (error) {
    await file.close().catch(() => undefined);
    await rm(path, { force: true });
    throw error;
  }
}

function keeperOf(file: FileHandle): FormerAuditKeeper {
  const hash = createHash("sha256");
  return {
    async write(lines) {
      const text = lines.map((line) => `${line}\n`).join("");
      hash.update(text);
      await file.appendFile(text);
    },
    async finish() {
      await file.sync();
      return hash.digest("hex");
    },
  };
}

function describe(begun: Beginning, keepFile: string): string {
  return `${describeBeginning(begun)}\nThat file is ${keepFile}: put it where nobody changes it.`;
}
