import { unverifiedClaims } from "../tokens/stored-token.ts";

const CLAIMS = ["email", "preferred_username", "upn", "name", "appid", "azp", "sub"];

/** The issuer's name for the caller; for the screen, so from any of the tokens, and never believed. */
export function nameOf(tokens: readonly (string | undefined)[]): string {
  for (const token of tokens) {
    const claims = token === undefined ? {} : unverifiedClaims(token);
    for (const claim of CLAIMS) {
      const value = claims[claim];
      if (typeof value === "string" && /^[^\p{Cc}]{1,200}$/u.test(value)) return value;
    }
  }
  return "unknown";
}
