import { ConnectError } from "@cluster-connect/protocol";
import { parseJsonObject } from "../json.ts";
import type { TokenHeader } from "../keys/jwks.ts";
import { MAX_TOKEN_BYTES } from "../limits.ts";
import { ownClaim } from "./claims.ts";
import type { Claims } from "./principal.ts";

/** A token as it reads before anything about it is believed; only its issuer, algorithm and key id are used. */
export interface UnverifiedToken {
  readonly text: string;
  readonly header: TokenHeader;
  readonly issuer: string;
  readonly claims: Claims;
}

const PART = /^[A-Za-z0-9_-]+$/;
const STRICT_UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Reads a compact JWS whose payload is a claim set.
 *
 * @throws ConnectError `CC_TOKEN_MISSING` on the empty text, `CC_TOKEN_INVALID` on everything that is no such token:
 *   too large, not three parts, encrypted, nested, with `crit`, without algorithm or issuer.
 */
export function parseUnverified(text: string): UnverifiedToken {
  if (text === "") throw new ConnectError("CC_TOKEN_MISSING", "There is no token");
  if (text.length > MAX_TOKEN_BYTES) throw invalidToken(`The token has more than ${MAX_TOKEN_BYTES} bytes`);
  const [first, second, third, ...more] = text.split(".");
  if (first !== undefined && third !== undefined && more.length === 2)
    throw invalidToken("The token is encrypted (JWE)");
  if (first === undefined || second === undefined || third === undefined || more.length > 0) {
    throw invalidToken("The token is malformed: it is not three parts joined by dots");
  }
  const header = parseHeader(first);
  if (third === "" || !PART.test(third)) throw invalidToken("The token is malformed: its signature is not base64url");
  const claims = parsePart(second, "payload");
  const issuer = ownClaim(claims, "iss");
  if (typeof issuer !== "string") throw invalidToken("The token names no issuer (iss)");
  return { text, header, issuer, claims };
}

function parseHeader(part: string): UnverifiedToken["header"] {
  const header = parsePart(part, "header");
  if (Object.hasOwn(header, "crit"))
    throw invalidToken("The token's header has critical extensions (crit), none is known");
  if (Object.hasOwn(header, "enc") || Object.hasOwn(header, "zip")) throw invalidToken("The token is encrypted (JWE)");
  if (Object.hasOwn(header, "b64")) throw invalidToken("The token's header changes the payload's encoding (b64)");
  if (Object.hasOwn(header, "cty"))
    throw invalidToken("The token holds another token (cty); nested tokens are not taken");
  const { alg, kid } = header;
  if (typeof alg !== "string") throw invalidToken("The token's header names no algorithm (alg)");
  if (kid === undefined) return { alg };
  if (typeof kid !== "string") throw invalidToken("The token's header has a key id that is not a string (kid)");
  return { alg, kid };
}

function parsePart(part: string, name: string): Readonly<Record<string, unknown>> {
  const value = PART.test(part) ? parseJsonObject(decodeUtf8(part)) : undefined;
  if (value !== undefined) return value;
  throw invalidToken(`The token is malformed: its ${name} is not a JSON object in base64url`);
}

/** "" for bytes that are not UTF-8. */
function decodeUtf8(part: string): string {
  try {
    return STRICT_UTF8.decode(Buffer.from(part, "base64url"));
  } catch {
    return "";
  }
}

function invalidToken(message: string): ConnectError {
  return new ConnectError("CC_TOKEN_INVALID", message);
}
