import type { ClusterId, KeyId } from "@cluster-connect/protocol";
import { z } from "zod";
import { CLUSTER_ID_FIELD, KEY_ID_FIELD } from "./fields.ts";

/** An agent's request for enrollment: `POST /v1/enroll`. */
export interface EnrollRequest {
  readonly code: string;
  /** SubjectPublicKeyInfo in base64url. */
  readonly publicKey: string;
  /** PEM. */
  readonly clusterAuthorities: string;
  /** The cluster that the agent has been so far. A code for any other cluster is refused, and not used up. */
  readonly clusterId?: string | undefined;
}

/** {@link EnrollRequest}. */
export const ENROLL_REQUEST = z.object({
  code: z.string().max(256),
  publicKey: z.string(),
  clusterAuthorities: z.string(),
  clusterId: z.string().optional(),
}) satisfies z.ZodType<EnrollRequest>;

/** An agent's request to replace its key: `POST /v1/agent/keys`. */
export interface RotateRequest {
  /** The former key. */
  readonly keyId: string;
  /** The new one, SubjectPublicKeyInfo in base64url. */
  readonly publicKey: string;
  /** When it was signed, ISO 8601. */
  readonly at: string;
  /** By the former key, see `keyRotationInput`. */
  readonly signature: string;
  /** By the new key. */
  readonly newSignature: string;
}

/** {@link RotateRequest}. */
export const ROTATE_REQUEST = z.object({
  keyId: z.string(),
  publicKey: z.string(),
  at: z.iso.datetime(),
  signature: z.string().max(128),
  newSignature: z.string().max(128),
}) satisfies z.ZodType<RotateRequest>;

/** The key that counts from now on: the answer to both. */
export interface EnrolledKey {
  readonly clusterId: ClusterId;
  readonly keyId: KeyId;
  readonly relayId: string;
}

/** {@link EnrolledKey}. */
export const ENROLLED_KEY = z.object({
  clusterId: CLUSTER_ID_FIELD,
  keyId: KEY_ID_FIELD,
  relayId: z.string(),
}) satisfies z.ZodType<EnrolledKey>;
