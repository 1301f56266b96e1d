import { randomUUID } from "node:crypto";

/** A token that says when it ends; nothing in these tests checks its signature. */
export function unsignedToken(claims: Readonly<Record<string, unknown>> = {}): string {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const exp = Math.floor(Date.now() / 1_000) + 600;
  return `${part({ alg: "none" })}.${part({ exp, jti: randomUUID(), ...claims })}.c2lnbmF0dXJl`;
}
