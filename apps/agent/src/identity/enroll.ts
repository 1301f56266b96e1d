import type { EnrolledKey } from "@cluster-connect/api";
import type { AgentKey } from "@cluster-connect/auth";
import type { Clock } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import { type Environment, type Logger, readSettingFile } from "@cluster-connect/service";
import type { AgentConfig } from "../config.ts";
import { askRelays } from "./ask-relays.ts";
import { waitForAuthorities } from "./authorities.ts";
import { postEnrollment, postKey } from "./relay-api.ts";
import { rotationRequest } from "./rotate.ts";
import {
  dropNextKey,
  type Identity,
  loadEnrollment,
  loadOrCreateKey,
  loadOrCreateNextKey,
  replaceKey,
  saveEnrollment,
} from "./state-folder.ts";

export interface EnrollDeps {
  /** Names the HTTP proxies on the way to relays. */
  readonly env: Environment;
  readonly log: Logger;
  readonly clock: Clock;
  readonly random: () => number;
}

/**
 * The identity of this agent: from its state folder, by a key that the relay knows already, or by enrolling with the one-time code on the first start.
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
  if (code === undefined) {
    const text = "The agent is not enrolled yet and has no one-time code (code or codeFile)";
    throw new ConnectError("CC_ENROLLMENT_CODE_INVALID", text);
  }
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

/**
 * Enrolls anew, with a fresh key, an agent whose key the relay does not take any more, where there is a code to do so. The
 * former key stays in the state folder until the relay has taken the new one.
 *
 * @param options `code` is one that was not refused before.
 * @returns undefined when the key is good after all: the relay refused this agent for another reason.
 * @throws ConnectError `CC_ENROLLMENT_CODE_INVALID` when the code is refused or another cluster's, and what else does not
 *   pass by waiting.
 */
export async function enrollAgain(
  former: Identity,
  config: AgentConfig,
  options: { readonly code: string; readonly ca: string | undefined; readonly signal: AbortSignal },
  deps: EnrollDeps,
): Promise<Identity | undefined> {
  const { stateDir, relay } = config;
  const ask = <T>(post: (url: URL) => Promise<T>): Promise<T> =>
    askRelays(relay.urls, "enrollment.retry", post, options, deps);
  if (!(await isRefused(ask((url) => postKey(url, rotationRequest(former, former.key, url, deps), options, deps))))) {
    return undefined;
  }
  const { clusterId } = former;
  const formerKeyId = former.key.keyId;
  const fields = { event: "key.refused", clusterId, keyId: formerKeyId };
  deps.log.warn(fields, "the relay does not take the key any more, enrolling anew with the code");
  const key = await loadOrCreateNextKey(stateDir);
  const file = config.authProxy.authoritiesFile;
  const clusterAuthorities = await waitForAuthorities(file, { signal: options.signal }, deps);
  const request = { code: options.code, publicKey: key.publicKey, clusterAuthorities, clusterId };
  const enrolled = await ask((url) => postEnrollment(url, request, options, deps));
  if (enrolled.keyId !== key.keyId) throw new ConnectError("CC_RELAY_REFUSED", "The relay enrolled another key");
  if (enrolled.clusterId !== clusterId) {
    const text = `The code is for the cluster ${enrolled.clusterId}, this one is ${clusterId}`;
    throw new ConnectError("CC_ENROLLMENT_CODE_INVALID", text);
  }
  await replaceKey(stateDir, { key, former: formerKeyId, clusterId, relayId: enrolled.relayId });
  await dropNextKey(stateDir);
  deps.log.info({ event: "agent.enrolled", clusterId, keyId: key.keyId, formerKeyId }, "enrolled anew");
  return { key, clusterId };
}

async function isRefused(answer: Promise<unknown>): Promise<boolean> {
  try {
    await answer;
    return false;
  } catch (error) {
    if (error instanceof ConnectError && error.code === "CC_AGENT_KEY_REFUSED") return true;
    throw error;
  }
}

async function keep(enrolled: EnrolledKey, key: AgentKey, config: AgentConfig, deps: EnrollDeps): Promise<Identity> {
  if (enrolled.keyId !== key.keyId) throw new ConnectError("CC_RELAY_REFUSED", "The relay enrolled another key");
  await saveEnrollment(config.stateDir, enrolled);
  const { clusterId, keyId } = enrolled;
  deps.log.info({ event: "agent.enrolled", clusterId, keyId }, "enrolled");
  return { key, clusterId };
}

/** The one-time code of the settings. @throws ConnectError of its file. */
export async function readCode(config: Pick<AgentConfig, "code" | "codeFile">): Promise<string | undefined> {
  if (config.code !== undefined) return config.code;
  if (config.codeFile === undefined) return undefined;
  return (await readSettingFile("codeFile", config.codeFile)).trim();
}
