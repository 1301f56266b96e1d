import type { RotateRequest } from "@cluster-connect/api";
import { type AgentKey, generateAgentKey, signChallenge } from "@cluster-connect/auth";
import type { Clock } from "@cluster-connect/base";
import { ConnectError, keyRotationInput } from "@cluster-connect/protocol";
import type { Environment, Logger } from "@cluster-connect/service";
import type { AgentConfig } from "../config.ts";
import { askRelays } from "./ask-relays.ts";
import { postKey } from "./relay-api.ts";
import { type Identity, readIdentity, replaceKey } from "./state-folder.ts";

export interface RotateDeps {
  readonly env: Environment;
  readonly log: Logger;
  readonly clock: Clock;
  readonly random: () => number;
}

/**
 * Makes a new key, has the relay take it on the signature of the one in `stateDir`, and puts it in that one's place. Both
 * are valid until no agent uses the former one any more.
 *
 * @param options `ca` is PEM to trust instead of the system's authorities.
 * @throws ConnectError `CC_FILE_MISSING` when no enrolled key is there, `CC_AGENT_KEY_REFUSED` when it is not valid.
 */
export async function rotateKey(
  config: Pick<AgentConfig, "relay" | "stateDir">,
  options: { readonly ca: string | undefined; readonly signal: AbortSignal },
  deps: RotateDeps,
): Promise<Identity> {
  const former = await readIdentity(config.stateDir);
  if (former === undefined) throw new ConnectError("CC_FILE_MISSING", `${config.stateDir} holds no enrolled key`);
  const key = generateAgentKey();
  const ask = (relay: URL): ReturnType<typeof postKey> =>
    postKey(relay, rotationRequest(former, key, relay, deps), options, deps);
  const answer = await askRelays(config.relay.urls, "rotation.retry", ask, options, deps);
  if (answer.keyId !== key.keyId || answer.clusterId !== former.clusterId) {
    throw new ConnectError("CC_RELAY_REFUSED", "The relay took another key");
  }
  await replaceKey(config.stateDir, {
    key,
    former: former.key.keyId,
    clusterId: former.clusterId,
    relayId: answer.relayId,
  });
  return { key, clusterId: former.clusterId };
}

/** The text that both keys sign; a key that asks for itself learns whether it is valid. */
export function rotationRequest(
  { key: former, clusterId }: Identity,
  key: AgentKey,
  relay: URL,
  { clock }: Pick<RotateDeps, "clock">,
): RotateRequest {
  const at = new Date(clock.now()).toISOString();
  const input = keyRotationInput({ authority: relay.host, clusterId, keyId: former.keyId, newKeyId: key.keyId, at });
  return {
    keyId: former.keyId,
    publicKey: key.publicKey,
    at,
    signature: signChallenge(former, input),
    newSignature: signChallenge(key, input),
  };
}
