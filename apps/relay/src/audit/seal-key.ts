import {
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  sign,
  timingSafeEqual,
  verify,
} from "node:crypto";
import { ConnectError } from "@cluster-connect/protocol";
import { readSettingFile } from "@cluster-connect/service";

/** The kinds of seals: a secret's, a key pair's, or those of an operator's command. */
export type SealAlgorithm = "hmac-sha256" | "ed25519" | "command";

/** A key that seals heads of the audit, or only verifies such seals; it is kept outside of the store. */
export interface SealKey {
  /** 16 hex digits that tell nothing of the key, or `command`. */
  readonly id: string;
  readonly algorithm: SealAlgorithm;
  /** Absent of a public key. @throws ConnectError of a command that failed. */
  readonly seal: ((text: string) => Promise<string>) | undefined;
  /** @throws ConnectError of a command that could not be run. */
  verify(text: string, seal: string): Promise<boolean>;
}

const MIN_SECRET_BYTES = 32;
const ID_LENGTH = 16;
const HINT =
  "Write a secret with `openssl rand -hex 32`, or an Ed25519 key with `openssl genpkey -algorithm ed25519`, to a file of its own.";

/** @throws ConnectError `CC_FILE_MISSING` or `CC_FILE_UNREADABLE`, and as {@link parseSealKey}. */
export async function readSealKey(setting: string, file: string): Promise<SealKey> {
  return parseSealKey(await readSettingFile(setting, file), `${setting}: ${file}`);
}

/**
 * Reads an Ed25519 key in PEM, private or public, or else a secret for HMAC-SHA-256.
 *
 * @param where the setting, for the message.
 * @throws ConnectError `CC_CONFIG_INVALID` for a secret below 32 bytes and for any other key.
 */
export function parseSealKey(text: string, where: string): SealKey {
  const trimmed = text.trim();
  if (trimmed.includes("-----BEGIN")) return keyPair(trimmed, where);
  const secret = Buffer.from(trimmed, "utf8");
  if (secret.length < MIN_SECRET_BYTES) {
    throw invalid(`${where} holds a secret of ${secret.length} bytes, and at least ${MIN_SECRET_BYTES} are needed`);
  }
  const mac = (input: string): Buffer => createHmac("sha256", secret).update(input).digest();
  return {
    id: mac("cluster-connect audit seal key id").toString("hex").slice(0, ID_LENGTH),
    algorithm: "hmac-sha256",
    seal: async (input) => mac(input).toString("base64"),
    verify: async (input, seal) => isSameText(mac(input).toString("base64"), seal),
  };
}

function keyPair(pem: string, where: string): SealKey {
  const isPrivate = pem.includes("PRIVATE KEY");
  const privateKey = isPrivate ? parsePem(() => createPrivateKey(pem), where) : undefined;
  const publicKey = parsePem(() => createPublicKey(pem), where);
  return {
    id: createHash("sha256")
      .update(publicKey.export({ type: "spki", format: "der" }))
      .digest("hex")
      .slice(0, ID_LENGTH),
    algorithm: "ed25519",
    seal: privateKey && (async (input) => sign(null, Buffer.from(input), privateKey).toString("base64")),
    verify: async (input, seal) => verify(null, Buffer.from(input), publicKey, Buffer.from(seal, "base64")),
  };
}

function parsePem(parse: () => KeyObject, where: string): KeyObject {
  try {
    const key = parse();
    if (key.asymmetricKeyType === "ed25519") return key;
  } catch {
    // Said below; the cause may quote the key.
  }
  throw invalid(`${where} holds no Ed25519 key in PEM`);
}

/** Compares without telling by the time where two texts differ. */
export function isSameText(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}

function invalid(message: string): ConnectError {
  return new ConnectError("CC_CONFIG_INVALID", message, { hint: HINT });
}
