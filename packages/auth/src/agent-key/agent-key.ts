import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from "node:crypto";
import { ConnectError, type KeyId, parseKeyId } from "@cluster-connect/protocol";

/** The public half of an agent's key, as the relay stores it. */
export interface AgentPublicKey {
  /** base64url SHA-256 of the SubjectPublicKeyInfo. */
  readonly keyId: KeyId;
  /** SubjectPublicKeyInfo (DER) in base64url. */
  readonly publicKey: string;
}

/** An agent's credential; the private half never leaves the cluster. */
export interface AgentKey extends AgentPublicKey {
  /** PKCS#8 PEM. */
  readonly privateKeyPem: string;
}

const MAX_PUBLIC_KEY_CHARACTERS = 256;

/** A new Ed25519 key pair. */
export function generateAgentKey(): AgentKey {
  const { privateKey } = generateKeyPairSync("ed25519");
  return describe(privateKey);
}

/**
 * Reads a stored private key and derives the rest.
 *
 * @throws ConnectError `CC_AGENT_KEY_REFUSED` unless it is an Ed25519 key in PKCS#8 PEM. The message shows none of it.
 */
export function parseAgentKey(privateKeyPem: string): AgentKey {
  const key = attempt(() => createPrivateKey({ key: privateKeyPem, format: "pem" }));
  if (key?.asymmetricKeyType !== "ed25519") throw refusedKey("The agent's private key is not an Ed25519 key in PEM");
  return describe(key);
}

/**
 * Reads a public key that an agent sent, and names it.
 *
 * @throws ConnectError `CC_AGENT_KEY_REFUSED` unless it is an Ed25519 SubjectPublicKeyInfo in base64url.
 */
export function parseAgentPublicKey(value: unknown): AgentPublicKey {
  const key = publicKeyOf(value);
  if (key === undefined) throw refusedKey("The agent's public key is not an Ed25519 key in base64url");
  return namePublicKey(key);
}

/**
 * @param input The bytes of `agentChallengeInput`.
 * @returns Ed25519 signature in base64url.
 * @throws ConnectError `CC_AGENT_KEY_REFUSED` when the key cannot be read.
 */
export function signChallenge(key: Pick<AgentKey, "privateKeyPem">, input: Uint8Array): string {
  const privateKey = attempt(() => createPrivateKey({ key: key.privateKeyPem, format: "pem" }));
  if (privateKey?.asymmetricKeyType !== "ed25519")
    throw refusedKey("The agent's private key is not an Ed25519 key in PEM");
  return sign(null, input, privateKey).toString("base64url");
}

/**
 * @param key The key the relay stored at enrollment, not one the agent sent along.
 * @param input The bytes of `agentChallengeInput` with the relay's own challenge.
 * @throws ConnectError `CC_AGENT_KEY_REFUSED` for an unreadable key, `CC_CHALLENGE_FAILED` for a wrong signature.
 */
export function verifyChallenge(key: Pick<AgentPublicKey, "publicKey">, input: Uint8Array, signature: string): void {
  const publicKey = publicKeyOf(key.publicKey);
  if (publicKey === undefined) throw refusedKey("The stored public key of the agent cannot be read");
  // 64 bytes have one spelling of 86 characters.
  if (/^[A-Za-z0-9_-]{86}$/.test(signature) && verify(null, input, publicKey, Buffer.from(signature, "base64url")))
    return;
  throw new ConnectError("CC_CHALLENGE_FAILED", "The agent's signature over the relay's challenge is wrong");
}

function describe(privateKey: KeyObject): AgentKey {
  const privateKeyPem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  return { ...namePublicKey(createPublicKey(privateKey)), privateKeyPem };
}

function namePublicKey(key: KeyObject): AgentPublicKey {
  const spki = key.export({ type: "spki", format: "der" });
  const keyId = parseKeyId(createHash("sha256").update(spki).digest("base64url"));
  return { keyId, publicKey: spki.toString("base64url") };
}

function publicKeyOf(value: unknown): KeyObject | undefined {
  if (typeof value !== "string" || value.length > MAX_PUBLIC_KEY_CHARACTERS || !/^[A-Za-z0-9_-]+$/.test(value)) {
    return undefined;
  }
  const key = attempt(() => createPublicKey({ key: Buffer.from(value, "base64url"), type: "spki", format: "der" }));
  return key?.asymmetricKeyType === "ed25519" ? key : undefined;
}

/** undefined in place of a crypto error, whose message could describe the key. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

function refusedKey(message: string): ConnectError {
  return new ConnectError("CC_AGENT_KEY_REFUSED", message);
}
