/** A token with its end; without one, nobody said when it ends. */
export interface StoredToken {
  readonly token: string;
  readonly expiresAt: Date | undefined;
}

const EARLY_MS = 60_000;
const EARLY_SHARE = 10;

/**
 * When a token is renewed: a minute before its end, or a tenth of its life before where that is shorter.
 *
 * @param now milliseconds; a token's life is counted from when it was got.
 */
export function renewAt(expiresAt: Date, obtainedAt: number): Date {
  const lifeMs = Math.max(0, expiresAt.getTime() - obtainedAt);
  return new Date(expiresAt.getTime() - Math.min(EARLY_MS, lifeMs / EARLY_SHARE));
}

/** The claims of a JWT as they are, believed by nobody: for the token's end and for the name that is shown. */
export function unverifiedClaims(token: string): Readonly<Record<string, unknown>> {
  const payload = token.split(".")[1];
  if (payload === undefined) return {};
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, "base64url").toString("utf8"));
    return typeof claims === "object" && claims !== null && !Array.isArray(claims) ? { ...claims } : {};
  } catch {
    return {};
  }
}

/** The end a JWT states, if it does. */
export function expiryOf(token: string): Date | undefined {
  const expires = unverifiedClaims(token)["exp"];
  return typeof expires === "number" && Number.isFinite(expires) ? new Date(expires * 1_000) : undefined;
}
