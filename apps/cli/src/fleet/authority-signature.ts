import { type KeyObject, sign, verify } from "node:crypto";
import type { ClusterId } from "@cluster-connect/protocol";

/** Of base64url: an Ed25519 signature. */
const SIGNATURE = /^[A-Za-z0-9_-]{86}$/;
const MAX_SIGNATURES = 8;

/**
 * Signs that a cluster's authority has this key; a certificate that the authority renews has the same one.
 *
 * @param authorityKey SHA-256 of the public key, see `Authorities.keys`.
 */
export function signAuthority(key: KeyObject, cluster: ClusterId, authorityKey: string): string {
  return sign(null, statement(cluster, authorityKey), key).toString("base64url");
}

/**
 * Which of a cluster's authorities a fleet key has signed.
 *
 * @param signatures separated by blanks; any other text counts for nothing.
 */
export function signedAuthorities(
  signatures: string | null,
  key: KeyObject,
  cluster: ClusterId,
  authorityKeys: readonly string[],
): ReadonlySet<string> {
  const candidates = (signatures ?? "").split(" ").filter((text) => SIGNATURE.test(text));
  const bytes = candidates.slice(0, MAX_SIGNATURES).map((text) => Buffer.from(text, "base64url"));
  const isSigned = (authorityKey: string): boolean =>
    bytes.some((signature) => verify(null, statement(cluster, authorityKey), key, signature));
  return new Set(authorityKeys.slice(0, MAX_SIGNATURES).filter(isSigned));
}

function statement(cluster: ClusterId, authorityKey: string): Buffer {
  return Buffer.from(`cluster-connect fleet authority v1\n${cluster}\n${authorityKey}\n`);
}
