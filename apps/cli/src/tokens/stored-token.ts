/** A token with its end; without one, nobody said when it ends. */
export interface StoredToken {
  readonly token: string;
  readonly expiresAt: Date | undefined;
  /** When this tool got it; undefined for a token that was given. */
  readonly obtainedAt?: Date;
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

/** Of the time between {@link renewAt} and the end: how much earlier renewals are spread. */
const SPREAD_SHARE = 0.5;
const SPREAD_STEPS = 997;

/**
 * When this tool itself renews a token: up to half as much again before {@link renewAt}, so that machines which signed
 * in together do not ask together. By chance from one token to the next, and the same for every process that has it.
 */
export function dueAt(expiresAt: Date, obtainedAt: Date): Date {
  const latest = renewAt(expiresAt, obtainedAt.getTime());
  const chance = (obtainedAt.getTime() % SPREAD_STEPS) / SPREAD_STEPS;
  return new Date(latest.getTime() - (expiresAt.getTime() - latest.getTime()) * SPREAD_SHARE * chance);
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
