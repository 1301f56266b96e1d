import type { AgentKey } from "@cluster-connect/auth";
import { ConnectError } from "@cluster-connect/protocol";
import { type Clock, type Environment, type Logger, readSettingFile } from "@cluster-connect/service";
import { askRelays } from "./ask-relays.ts";
import { waitForAuthorities } from "./authorities.ts";
import type { AgentConfig } from "./config.ts";
import { type Identity, loadEnrollment, loadOrCreateKey, saveEnrollment } from "./identity.ts";
import { type Enrolled, postEnrollment } from "./relay-api.ts";

export interface EnrollDeps {
  /** Names the HTTP proxies on the way to relays. */
  readonly env: Environment;
  readonly log: Logger;
  readonly clock: Clock;
  readonly random: () => number;
}

/**
 * Who this agent is: from its state folder, by a key that the relay knows already, or by enrolling with the one-time code on the first start.
 *
 * A relay that cannot be reached is tried again until the signal is aborted.
 *
 * @param options `ca` is PEM to trust instead of the system's authorities.
 * @throws ConnectError `CC_ENROLLMENT_CODE_INVALID` without a code or when the relay refuses it, and what else does not
 *   pass by waiting.
 */
export async function ensureIdentity(
  config: AgentConfig,
  options: { readonly ca: string | undefined; readonly signal: AbortSignal },
  deps: EnrollDeps,
): Promise<Identity> {
  const key = await loadOrCreateKey(config.stateDir);
  const known = await loadEnrollment(config.stateDir, key.keyId);
  if (known !== undefined) return { key, clusterId: known };
  if (config.knownAs !== undefined) return { key, clusterId: config.knownAs };
  const code = await readCode(config);
  const file = config.authProxy.authoritiesFile;
  const clusterAuthorities = await waitForAuthorities(file, { signal: options.signal }, deps);
  const request = { code, publicKey: key.publicKey, clusterAuthorities };
  const enrolled = await askRelays(
    config.relay.urls,
    "enrollment.retry",
    (relay) => postEnrollment(relay, request, options, deps),
    options,
    deps,
  );
  return await keep(enrolled, key, config, deps);
}

async function keep(enrolled: Enrolled, key: AgentKey, config: AgentConfig, deps: EnrollDeps): Promise<Identity> {
  if (enrolled.keyId !== key.keyId) throw new ConnectError("CC_RELAY_REFUSED", "The relay enrolled another key");
  await saveEnrollment(config.stateDir, enrolled);
  const { clusterId, keyId } = enrolled;
  deps.log.info({ event: "agent.enrolled", clusterId, keyId }, "enrolled");
  return { key, clusterId };
}

async function readCode(config: AgentConfig): Promise<string> {
  if (config.code !== undefined) return config.code;
  if (config.codeFile !== undefined) return (await readSettingFile("codeFile", config.codeFile)).trim();
  throw new ConnectError(
    "CC_ENROLLMENT_CODE_INVALID",
    "The agent is not enrolled yet and has no one-time code (code or codeFile)",
  );
}
