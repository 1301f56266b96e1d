import { createHash } from "node:crypto";
import { withoutPrivateKeys } from "@cluster-connect/base";

// A JWT's header begins with the base64url of `{"`; the two further parts may be missing in a cut text.
const JWT = /eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,4}/g;
const BEARER = /\b(bearer|basic|negotiate) +[^\s,;"']+/gi;
const SUBPROTOCOL_TOKEN = /base64url\.bearer\.authorization\.k8s\.io\.[A-Za-z0-9_-]+/g;
const ENROLLMENT_CODE = /\bcc1-[A-Za-z0-9-]{8,}/g;

/** Text that came from elsewhere, without the tokens, codes and private keys that are recognised in it. */
export function redact(text: string): string {
  return withoutPrivateKeys(text, "[private key]")
    .replace(BEARER, "$1 [redacted]")
    .replace(SUBPROTOCOL_TOKEN, "[token]")
    .replace(JWT, "[token]")
    .replace(ENROLLMENT_CODE, "[enrollment code]");
}

/** A short name for a token, the same each time, to follow it through logs without showing it: 12 hex digits. */
export function tokenFingerprint(token: string): string {
  return createHash("sha256").update(token).digest("hex").slice(0, 12);
}
