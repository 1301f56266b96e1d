import { randomUUID } from "node:crypto";
import { type CryptoKey, exportJWK, generateKeyPair, type JWK } from "jose";
import type { SignatureAlgorithm } from "../tokens/issuers.ts";

/** A key pair with the public half as an issuer publishes it. */
export interface SigningKey {
  readonly alg: SignatureAlgorithm;
  readonly privateKey: CryptoKey;
  readonly jwk: JWK & { readonly kid: string };
}

export async function createSigningKey(alg: SignatureAlgorithm): Promise<SigningKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  return { alg, privateKey, jwk: { ...(await exportJWK(publicKey)), kid: randomUUID(), use: "sig", alg } };
}
