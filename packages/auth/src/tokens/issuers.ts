import { ConnectError } from "@cluster-connect/protocol";
import type { Claims, MappedIdentity } from "./principal.ts";

/** Signature algorithms a token may have; symmetric ones and `none` are no members on purpose. */
export type SignatureAlgorithm = (typeof SIGNATURE_ALGORITHMS)[number];
export const SIGNATURE_ALGORITHMS = [
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
  "EdDSA",
] as const;

/** An issuer whose tokens are believed, and the rules for them. */
export interface TrustedIssuer {
  /** Compared with `iss` byte by byte. */
  readonly url: string;
  /** Where the discovery document is, when it is not at `url` + `/.well-known/openid-configuration`. */
  readonly discoveryUrl?: string;
  /** PEM certificates to trust instead of the system's when fetching from this issuer. */
  readonly certificateAuthority?: string;
  /** The token's `aud` must hold at least one of them. */
  readonly audiences: readonly string[];
  readonly algorithms: readonly SignatureAlgorithm[];
  /** Allows `http:` for discovery and keys, and only towards this machine. */
  readonly allowInsecureLoopback?: boolean;
  /** @throws ConnectError `CC_TOKEN_INVALID` when a rule about the claims does not hold. */
  readonly validate?: (claims: Claims) => void;
  /** @throws ConnectError `CC_IDENTITY_REFUSED` when the claims name no caller that this server accepts. */
  readonly map: (claims: Claims) => MappedIdentity;
}

/**
 * Finds issuers by the exact text of `iss`.
 *
 * @throws ConnectError `CC_CONFIG_INVALID` when two have the same URL.
 */
export function createIssuerLookup<T extends { readonly url: string }>(
  issuers: readonly T[],
): (iss: string) => T | undefined {
  const byUrl = new Map<string, T>();
  for (const issuer of issuers) {
    if (byUrl.has(issuer.url)) throw new ConnectError("CC_CONFIG_INVALID", `The issuer ${issuer.url} is listed twice`);
    byUrl.set(issuer.url, issuer);
  }
  return (iss) => byUrl.get(iss);
}
