import { ConnectError } from "../errors.ts";
import { SECRET_BYTES } from "../limits.ts";

declare const brand: unique symbol;
/** 32 random bytes as 43 characters of base64url: a stream's key or a relay's challenge. Never logged. */
export type Secret = string & { readonly [brand]: "Secret" };

const SECRET = /^[A-Za-z0-9_-]{43}$/;

/** @throws ConnectError `CC_ID_INVALID` unless the value is 32 bytes in base64url; the message never shows it. */
export function parseSecret(value: unknown): Secret {
  if (typeof value === "string" && SECRET.test(value)) return value as Secret;
  throw new ConnectError("CC_ID_INVALID", `A secret has ${SECRET_BYTES} bytes in base64url`);
}
