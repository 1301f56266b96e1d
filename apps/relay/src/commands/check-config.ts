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
    () => requireTwoSecrets(config),
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

/** A receiver of one of the two could sign messages of the other. Each missing or empty secret is said on its own. */
async function requireTwoSecrets({ webhook, audit }: RelayConfig): Promise<void> {
  if (webhook === undefined || audit.webhook === undefined) return;
  const files = [webhook.secretFile, audit.webhook.secretFile];
  const [first, second] = await Promise.all(files.map((file) => readSettingFile("", file).catch(() => undefined)));
  if (first === undefined || first.trim() === "" || first.trim() !== second?.trim()) return;
  throw new ConnectError("CC_CONFIG_INVALID", "webhook.secretFile and audit.webhook.secretFile hold the same secret", {
    hint: "Give each endpoint a secret of its own.",
  });
}
