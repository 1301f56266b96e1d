import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { ConnectError } from "@cluster-connect/protocol";
import { readTextFile } from "../files/text-file.ts";

/** The public half of a fleet key: it says which authorities the clusters of one operator have. */
export interface FleetKey {
  /** In its one spelling. */
  readonly text: string;
  readonly publicKey: KeyObject;
}

const PREFIX = "ccfleet-";
const KEY = /^ccfleet-([A-Za-z0-9_-]{43})$/;

/** A new fleet key: the private half in PEM, for a file that stays offline, and the public one as text. */
export function createFleetKey(): { readonly privatePem: string; readonly publicText: string } {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  return {
    privatePem: privateKey.export({ format: "pem", type: "pkcs8" }).toString(),
    publicText: textOf(publicKey),
  };
}

/**
 * Reads the public half, as text or from a file.
 *
 * @param where names the flag or variable.
 * @throws ConnectError `CC_FLEET_KEY_INVALID` saying what was given instead, `CC_FILE_MISSING`.
 */
export async function readFleetKey(given: string, where: string): Promise<FleetKey> {
  if (given.startsWith(PREFIX)) return parseFleetKey(given, where);
  return parseFleetKey(await readTextFile(given), given);
}

/** @throws ConnectError `CC_FLEET_KEY_INVALID` */
export function parseFleetKey(text: string, where: string): FleetKey {
  const trimmed = text.trim();
  if (/PRIVATE KEY-----/.test(trimmed)) {
    throw invalidFleetKey(where, "it is the private half, which belongs nowhere but in its file");
  }
  try {
    const x = KEY.exec(trimmed)?.[1];
    const publicKey =
      x === undefined
        ? createPublicKey(trimmed)
        : createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
    requireEd25519(publicKey, where);
    return { text: textOf(publicKey), publicKey };
  } catch (cause) {
    if (cause instanceof ConnectError) throw cause;
    throw invalidFleetKey(where, `it does not begin with ${PREFIX} and has no 43 characters behind it`, cause);
  }
}

/** Reads the private half. @throws ConnectError `CC_FLEET_KEY_INVALID`, `CC_FILE_MISSING`. */
export async function readFleetPrivateKey(path: string): Promise<KeyObject> {
  const pem = await readTextFile(path);
  try {
    const key = createPrivateKey(pem);
    requireEd25519(key, path);
    return key;
  } catch (cause) {
    if (cause instanceof ConnectError) throw cause;
    throw invalidFleetKey(path, "it holds no private key in PEM", cause);
  }
}

/** The public half of a key, as {@link readFleetKey} takes it. */
export function textOf(key: KeyObject): string {
  const { x = "" } = (key.type === "private" ? createPublicKey(key) : key).export({ format: "jwk" });
  return `${PREFIX}${x}`;
}

function requireEd25519(key: KeyObject, where: string): void {
  const kind = key.asymmetricKeyType;
  if (kind !== "ed25519")
    throw invalidFleetKey(where, `it is a key of another kind (${kind ?? "unknown"}), not Ed25519`);
}

function invalidFleetKey(where: string, what: string, cause?: unknown): ConnectError {
  return new ConnectError("CC_FLEET_KEY_INVALID", `${where} is no fleet key: ${what}`, { cause });
}
