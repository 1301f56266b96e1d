import { verifyChallenge } from "@cluster-connect/auth";
import { agentChallengeInput, ConnectError, type Hello, type InstanceId, type Secret } from "@cluster-connect/protocol";
import type { ClusterCache } from "../store/caches/cluster-cache.ts";
import type { ValidAgentKey } from "../store/queries/agent-keys.ts";

/**
 * Judges the proof in an agent's HELLO.
 *
 * @param challenge bytes of this relay's own HELLO in this session, so that an old proof is worth nothing.
 * @throws ConnectError `CC_AGENT_KEY_REFUSED` for a key that is not known, revoked or another cluster's, which are not
 *   told apart; `CC_CHALLENGE_FAILED` for another relay's name or a wrong signature; `CC_PROTOCOL` without a proof.
 */
export async function verifyAgentProof(
  hello: Hello,
  challenge: Secret,
  deps: { readonly keys: ClusterCache["keys"]; readonly authority: string; readonly instanceId: InstanceId },
): Promise<ValidAgentKey> {
  const { agent: proof, role, instanceId: agentInstanceId } = hello;
  if (role !== "agent" || proof === undefined) {
    throw new ConnectError("CC_PROTOCOL", "Only an agent with a proof opens a session here");
  }
  const { clusterId, keyId, authority, signature } = proof;
  if (authority !== deps.authority) {
    throw new ConnectError("CC_CHALLENGE_FAILED", `The agent dialed another name than ${deps.authority}`);
  }
  const key = await deps.keys.get(keyId);
  if (key === undefined || key.clusterId !== clusterId) {
    throw new ConnectError("CC_AGENT_KEY_REFUSED", "The agent's key is not enrolled for this cluster");
  }
  const relayInstanceId = deps.instanceId;
  const input = agentChallengeInput({ challenge, relayInstanceId, agentInstanceId, clusterId, authority });
  verifyChallenge(key, input, signature);
  return key;
}
