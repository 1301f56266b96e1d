import { ENROLL_REQUEST, type EnrolledKey } from "@cluster-connect/api";
import { hashEnrollmentCode, parseAgentPublicKey } from "@cluster-connect/auth";
import { ConnectError } from "@cluster-connect/protocol";
import { parseAuthorities } from "../../agents/authorities.ts";
import { redeemEnrollmentCode } from "../../store/queries/enrollment-codes.ts";
import type { Store } from "../../store/store.ts";

/**
 * Makes an agent's public key known, for a one-time code.
 *
 * @param body `{code, publicKey, clusterAuthorities, clusterId?}`: key as SubjectPublicKeyInfo in base64url, authorities
 *   in PEM, and the cluster that the agent has been so far, if any.
 * @throws ConnectError `CC_REQUEST_REFUSED`, `CC_AGENT_KEY_REFUSED` or `CC_ENROLLMENT_CODE_INVALID`.
 */
export async function enroll(
  body: unknown,
  deps: { readonly store: Store; readonly now: () => number },
): Promise<EnrolledKey> {
  const parsed = ENROLL_REQUEST.safeParse(body);
  if (!parsed.success) {
    throw new ConnectError("CC_REQUEST_REFUSED", "An enrollment has the fields code, publicKey and clusterAuthorities");
  }
  const { code, publicKey: sent, clusterAuthorities, clusterId: expected } = parsed.data;
  const { keyId, publicKey } = parseAgentPublicKey(sent);
  const clusterId = await redeemEnrollmentCode(
    deps.store.db,
    {
      codeHash: hashEnrollmentCode(code),
      keyId,
      publicKey,
      clusterAuthorities: parseAuthorities(clusterAuthorities).pem,
      clusterId: expected,
    },
    new Date(deps.now()),
  );
  return { clusterId, keyId, relayId: deps.store.relayId };
}
