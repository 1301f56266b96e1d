import { type EnrolledKey, ROTATE_REQUEST } from "@cluster-connect/api";
import { parseAgentPublicKey, verifyChallenge } from "@cluster-connect/auth";
import { ConnectError, keyRotationInput, parseKeyId } from "@cluster-connect/protocol";
import { findAgentKey } from "../../store/queries/agent-keys.ts";
import { addRotatedKey } from "../../store/queries/key-rotation.ts";
import type { Store } from "../../store/store.ts";

/** Clocks differ by less; an older signature is not taken. */
const MAX_AGE_MS = 300_000;

/**
 * Takes a new key of an agent on the word of its former one. Both are valid until the former is not used any more. A key
 * that asks for itself changes nothing, and learns whether it is valid.
 *
 * @param body `{keyId, publicKey, at, signature, newSignature}`: id of the former key, the new one as
 *   SubjectPublicKeyInfo in base64url, and the signatures of both, see `keyRotationInput`.
 * @throws ConnectError `CC_REQUEST_REFUSED`; `CC_AGENT_KEY_REFUSED` for a former key that is not valid and a new one that
 *   was another cluster's or is revoked, not told apart; `CC_CHALLENGE_FAILED` for a wrong or old signature.
 */
export async function rotate(
  body: unknown,
  deps: { readonly store: Store; readonly authority: string; readonly now: () => number },
): Promise<EnrolledKey> {
  const parsed = ROTATE_REQUEST.safeParse(body);
  if (!parsed.success) {
    throw new ConnectError("CC_REQUEST_REFUSED", "It has the fields keyId, publicKey, at, signature and newSignature");
  }
  const { at, signature, newSignature } = parsed.data;
  const { store, authority } = deps;
  const former = await findAgentKey(store.db, parseKeyId(parsed.data.keyId));
  if (former === undefined) throw new ConnectError("CC_AGENT_KEY_REFUSED", "The agent's former key is not enrolled");
  const { clusterId, keyId } = former;
  const { keyId: newKeyId, publicKey } = parseAgentPublicKey(parsed.data.publicKey);
  const input = keyRotationInput({ authority, clusterId, keyId, newKeyId, at });
  verifyChallenge(former, input, signature);
  verifyChallenge({ publicKey }, input, newSignature);
  const now = deps.now();
  if (Math.abs(now - Date.parse(at)) > MAX_AGE_MS) {
    throw new ConnectError("CC_CHALLENGE_FAILED", "What the agent signed is too old, or one of the clocks is wrong");
  }
  await addRotatedKey(store.db, { keyId: newKeyId, clusterId, publicKey }, keyId, new Date(now));
  return { clusterId, keyId: newKeyId, relayId: store.relayId };
}
