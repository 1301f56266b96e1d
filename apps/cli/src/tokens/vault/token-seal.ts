import { createCipheriv, createDecipheriv } from "node:crypto";
import { parseJson } from "../../json.ts";

/** A text that only the holder of a key can read: AES-256-GCM. */
export interface SealedText {
  /** The key store's name, for people. */
  readonly store: string;
  /** Under which name the store keeps the key. */
  readonly account: string;
  readonly iv: string;
  readonly tag: string;
  readonly text: string;
}

/** Length of a key, in bytes. */
export const KEY_BYTES = 32;
/** Length of GCM's nonce, in bytes; a nonce is fresh for each text. */
export const IV_BYTES = 12;

const ALGORITHM = "aes-256-gcm";
const TAG_BYTES = 16;
const FIELDS = ["store", "account", "iv", "tag", "text"] as const;

/** @param about the owner of the text; it opens for nothing else. */
export function sealText(
  text: string,
  about: string,
  key: Uint8Array,
  iv: Uint8Array,
  where: Pick<SealedText, "store" | "account">,
): SealedText {
  const cipher = createCipheriv(ALGORITHM, key, iv, { authTagLength: TAG_BYTES }).setAAD(Buffer.from(about));
  const sealed = Buffer.concat([cipher.update(text, "utf8"), cipher.final()]);
  const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");
  return { ...where, iv: base64(iv), tag: base64(cipher.getAuthTag()), text: base64(sealed) };
}

/** @returns undefined when it was sealed with another key, for something else, or was changed. */
export function openText(sealed: SealedText, about: string, key: Uint8Array): string | undefined {
  const bytes = (base64: string): Buffer => Buffer.from(base64, "base64");
  try {
    const decipher = createDecipheriv(ALGORITHM, key, bytes(sealed.iv), { authTagLength: TAG_BYTES })
      .setAAD(Buffer.from(about))
      .setAuthTag(bytes(sealed.tag));
    return Buffer.concat([decipher.update(bytes(sealed.text)), decipher.final()]).toString("utf8");
  } catch {
    return undefined;
  }
}

export function formatSealed(sealed: SealedText): string {
  return `${JSON.stringify({ sealed }, undefined, 1)}\n`;
}

/** @returns undefined for a file that holds no sealed text. */
export function parseSealed(content: string): SealedText | undefined {
  if (!content.startsWith('{\n "sealed"')) return undefined;
  const root = parseJson(content);
  const found = typeof root === "object" && root !== null && "sealed" in root ? root.sealed : undefined;
  const field = (name: (typeof FIELDS)[number]): string => {
    const value: unknown = Object.getOwnPropertyDescriptor(Object(found), name)?.value;
    return typeof value === "string" ? value : "";
  };
  return { store: field("store"), account: field("account"), iv: field("iv"), tag: field("tag"), text: field("text") };
}
