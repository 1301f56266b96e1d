import { SYSTEM_CLOCK } from "@cluster-connect/base";
import { ConnectError, toConnectError } from "@cluster-connect/protocol";
import { createLogger, type DaemonProcess, readSettingFile } from "@cluster-connect/service";
import { requireOwnAudiences } from "../audience-check.ts";
import { openSealKeys, type SealSettings } from "../audit/seal-keys.ts";
import type { RelayConfig } from "../config.ts";
import { requireGrantFiles } from "../grants/directory.ts";
import { createRelayServer } from "../http/server.ts";
import { readSigningSecret } from "../notify/secret.ts";
import { readPeerCredentials } from "../peers/tls.ts";
import { createVerifier } from "../serve.ts";
import { readStorePlace } from "../store/open/place.ts";

/**
 * Reads every file that the settings name.
 *
 * @throws ConnectError of the one problem, or `CC_CONFIG_INVALID` with all of them.
 */
export async function checkFiles(
  config: RelayConfig,
  { logs, env }: Pick<DaemonProcess, "logs" | "env">,
): Promise<void> {
  const { grantsDir, webhook, audit, peers } = config;
  const checks: readonly (() => Promise<unknown>)[] = [
    () => createVerifier(config, { env }),
    () => requireOwnAudiences(config),
    () => requireOwnSecrets(config),
    () => readStorePlace(config),
    () => createRelayServer(config, { log: createLogger({ service: "relay" }, logs), clock: SYSTEM_CLOCK }),
    ...(peers === undefined ? [] : [() => readPeerCredentials(peers)]),
    ...(grantsDir === undefined ? [] : [() => requireGrantFiles(grantsDir)]),
    ...(webhook === undefined ? [] : [() => readSigningSecret("webhook.secretFile", webhook.secretFile)]),
    ...secretOf(audit.webhook?.secretFile),
    ...sealOf(audit.seal),
  ];
  const results = await Promise.allSettled(checks.map((check) => check()));
  const problems = results.flatMap((result) => (result.status === "rejected" ? [toConnectError(result.reason)] : []));
  const [first, ...more] = problems;
  if (first === undefined) return;
  if (more.length === 0) throw first;
  throw new ConnectError("CC_CONFIG_INVALID", problems.map(({ message }) => message).join("; "));
}

function sealOf(seal: SealSettings | undefined): readonly (() => Promise<unknown>)[] {
  return seal === undefined ? [] : [() => openSealKeys(seal)];
}

function secretOf(file: string | undefined): readonly (() => Promise<unknown>)[] {
  return file === undefined ? [] : [() => readSigningSecret("audit.webhook.secretFile", file)];
}

/**
 * A receiver of one message could sign those for another, or seal the audit. Each missing or empty secret is said on its
 * own.
 */
async function requireOwnSecrets({ webhook, audit }: RelayConfig): Promise<void> {
  const { keyFile, key, formerKeyFiles = [] } = audit.seal ?? {};
  const files: readonly (readonly [setting: string, file: string | undefined])[] = [
    ["webhook.secretFile", webhook?.secretFile],
    ["audit.webhook.secretFile", audit.webhook?.secretFile],
    ["audit.seal.keyFile", keyFile],
    ...formerKeyFiles.map((file) => ["audit.seal.formerKeyFiles", file] as const),
  ];
  const seen = new Map<string, string>(key === undefined ? [] : [[key.trim(), "audit.seal.key"]]);
  for (const [setting, file] of files) {
    const text = file && (await readSettingFile("", file).catch(() => undefined))?.trim();
    if (!text) continue;
    const other = seen.get(text);
    if (other !== undefined && other !== setting) throw sameSecret(other, setting);
    seen.set(text, setting);
  }
}

function sameSecret(one: string, other: string): ConnectError {
  return new ConnectError("CC_CONFIG_INVALID", `${one} and ${other} hold the same secret`, {
    hint: "Give each endpoint a secret of its own, and the seal another.",
  });
}
