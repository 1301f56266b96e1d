import { hashEnrollmentCode, parseAgentPublicKey } from "@cluster-connect/auth";
import { type ClusterId, ConnectError, type InstanceId, type KeyId } from "@cluster-connect/protocol";
import { z } from "zod";
import { parseAuthorities } from "../authorities.ts";
import { redeemEnrollmentCode } from "../store/enrollment-codes.ts";
import type { Store } from "../store/store.ts";

const BODY = z.object({
  code: z.string().max(256),
  publicKey: z.string(),
  clusterAuthorities: z.string(),
  clusterId: z.string().optional(),
});

/** Answer of `POST /v1/enroll`. */
export interface EnrollAnswer {
  readonly clusterId: ClusterId;
  readonly keyId: KeyId;
  readonly relayId: InstanceId;
}

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
): Promise<EnrollAnswer> {
  const parsed = BODY.safeParse(body);
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
