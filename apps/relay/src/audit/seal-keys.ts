import { ConnectError } from "@cluster-connect/protocol";
import { z } from "zod";
import { createCommandKey } from "./seal-command.ts";
import { parseSealKey, readSealKey, type SealKey } from "./seal-key.ts";

/** The key that seals the audit's heads, from a file, the environment or a command. */
export interface SealSettings {
  readonly keyFile?: string | undefined;
  /** For `CC_AUDIT_SEAL_KEY`. */
  readonly key?: string | undefined;
  readonly command?: readonly string[] | undefined;
  readonly verifyCommand?: readonly string[] | undefined;
  /** Keys that sealed before this one, or their public halves; they verify what they sealed. */
  readonly formerKeyFiles: readonly string[];
  readonly intervalMinutes: number;
}

const COMMAND = z.array(z.string()).min(1);

export const SEAL_SCHEMA: z.ZodType<SealSettings> = z
  .strictObject({
    keyFile: z.string().min(1).optional(),
    key: z.string().min(1).optional(),
    command: COMMAND.optional(),
    verifyCommand: COMMAND.optional(),
    formerKeyFiles: z.array(z.string().min(1)).max(100).default([]),
    intervalMinutes: z.number().min(0.01).max(720).default(60),
  })
  .superRefine(({ keyFile, key, command, verifyCommand }, context) => {
    const named = [keyFile, key, command].filter((one) => one !== undefined).length;
    if (named !== 1) {
      context.addIssue({ code: "custom", message: "expected one of keyFile, key and command", path: ["keyFile"] });
    }
    if (verifyCommand !== undefined && command === undefined) {
      context.addIssue({ code: "custom", message: "expected command beside it", path: ["verifyCommand"] });
    }
  });

/** Keys by which seals are told; all but the first only verify. */
export interface SealKeys {
  readonly current: SealKey;
  readonly former: readonly SealKey[];
}

/** @throws ConnectError `CC_CONFIG_INVALID`, `CC_FILE_MISSING` or `CC_FILE_UNREADABLE` naming the setting. */
export async function openSealKeys(settings: SealSettings): Promise<SealKeys> {
  const current = await currentKey(settings);
  const former = await Promise.all(
    settings.formerKeyFiles.map((file) => readSealKey("audit.seal.formerKeyFiles", file)),
  );
  if (former.some(({ id }) => id === current.id)) {
    throw new ConnectError("CC_CONFIG_INVALID", "audit.seal.formerKeyFiles names the key that seals now");
  }
  return { current, former };
}

async function currentKey({ keyFile, key, command, verifyCommand }: SealSettings): Promise<SealKey> {
  if (command !== undefined) return createCommandKey({ command, verifyCommand });
  const found =
    keyFile === undefined
      ? parseSealKey(key ?? "", "audit.seal.key")
      : await readSealKey("audit.seal.keyFile", keyFile);
  if (found.seal !== undefined) return found;
  throw new ConnectError("CC_CONFIG_INVALID", "audit.seal: the key is a public one, which cannot seal", {
    hint: "Name the private key; auditors verify with `audit verify --seal-key` and the public one.",
  });
}

/** Keys that an auditor named, the newest first. @throws ConnectError as {@link openSealKeys}. */
export async function readAuditorKeys(files: readonly string[]): Promise<SealKeys | undefined> {
  const [current, ...former] = await Promise.all(files.map((file) => readSealKey("--seal-key", file)));
  return current && { current, former };
}
