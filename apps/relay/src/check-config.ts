import { ConnectError, toConnectError } from "@cluster-connect/protocol";
import { createLogger, readSettingFile, SYSTEM_CLOCK } from "@cluster-connect/service";
import type { RelayConfig } from "./config.ts";
import { readGrantFiles } from "./grants/directory.ts";
import { readPeerCredentials } from "./peers/tls.ts";
import { createVerifier } from "./serve.ts";
import { createRelayServer } from "./server.ts";
import { readStorePlace } from "./store/place.ts";

/**
 * Reads every file that the settings name.
 *
 * @throws ConnectError of the one problem, or `CC_CONFIG_INVALID` with all of them.
 */
export async function checkFiles(config: RelayConfig): Promise<void> {
  const { grantsDir, webhook, audit, peers } = config;
  const checks: readonly (() => Promise<unknown>)[] = [
    () => createVerifier(config),
    () => readStorePlace(config),
    () => createRelayServer(config, { log: createLogger({ service: "relay" }), clock: SYSTEM_CLOCK }),
    ...(peers === undefined ? [] : [() => readPeerCredentials(peers)]),
    ...(grantsDir === undefined ? [] : [() => readGrantFiles(grantsDir)]),
    ...(webhook === undefined ? [] : [() => readSettingFile("webhook.secretFile", webhook.secretFile)]),
    ...secretOf(audit.webhook?.secretFile),
  ];
  const results = await Promise.allSettled(checks.map((check) => check()));
  const problems = results.flatMap((result) => (result.status === "rejected" ? [toConnectError(result.reason)] : []));
  const [first, ...more] = problems;
  if (first === undefined) return;
  if (more.length === 0) throw first;
  throw new ConnectError("CC_CONFIG_INVALID", problems.map(({ message }) => message).join("; "));
}

function secretOf(file: string | undefined): readonly (() => Promise<unknown>)[] {
  return file === undefined ? [] : [() => readSettingFile("audit.webhook.secretFile", file)];
}
