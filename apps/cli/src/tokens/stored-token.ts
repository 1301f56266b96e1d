import type { ConnectError } from "@cluster-connect/protocol";

/** A token with its end; without one, its end is not known. */
export interface StoredToken {
  readonly token: string;
  readonly expiresAt: Date | undefined;
  /** When this tool got it; undefined for a token that was given. */
  readonly obtainedAt?: Date;
  /** The failure of the renewal that was tried just now; the token is the old one, which still serves. */
  readonly failure?: ConnectError;
}

/** A session ends with its token, so each one that begins has at least this share of a token's life before it. */
const RENEW_SHARE = 0.5;
const SPREAD_SHARE = 0.1;
const SPREAD_STEPS = 997;

/**
 * When a token is renewed: after half of its life, or up to a tenth of its life earlier. So machines that signed in
 * together do not ask together. By chance from one token to the next, and the same for every process that has it.
 */
export function dueAt(expiresAt: Date, obtainedAt: Date): Date {
  const lifeMs = Math.max(0, expiresAt.getTime() - obtainedAt.getTime());
  const chance = (obtainedAt.getTime() % SPREAD_STEPS) / SPREAD_STEPS;
  return new Date(obtainedAt.getTime() + Math.floor(lifeMs * (RENEW_SHARE - SPREAD_SHARE * chance)));
}

const URGENT_MS = 60_000;
const URGENT_SHARE = 10;

/**
 * When a renewal cannot wait any longer: a minute before a token's end, or a tenth of its life before where that is
 * shorter. Until then the old token is good enough while another process renews it.
 */
export function urgentAt(expiresAt: Date, obtainedAt: Date): Date {
  const lifeMs = Math.max(0, expiresAt.getTime() - obtainedAt.getTime());
  return new Date(expiresAt.getTime() - Math.min(URGENT_MS, lifeMs / URGENT_SHARE));
}

const REST_SHARE = 10;
const MAX_REST_MS = 300_000;

/** How long nothing is asked after a renewal that failed: a tenth of what is left of the token, five minutes at most. */
export function restMs(expiresAt: Date, now: number): number {
  return Math.min(MAX_REST_MS, Math.max(0, expiresAt.getTime() - now) / REST_SHARE);
}

const ASK_AGAIN_MS = 60_000;
const ASK_AGAIN_SHARE = 0.9;

/**
 * When a client that keeps a token in memory asks for it again, in whole seconds and never after its end.
 *
 * - A token that is renewed here: when it is due.
 * - One whose renewal failed: in a minute.
 * - One that was given: after half of what is left of it, for its owner may have renewed it by then. In its last two
 *   minutes as for one whose renewal failed, and shortly before its end.
 */
export function askAgainAt(token: StoredToken & { readonly expiresAt: Date }, now: number): Date {
  const { expiresAt, obtainedAt } = token;
  const leftMs = Math.max(0, expiresAt.getTime() - now);
  const soon = now + Math.min(ASK_AGAIN_MS, leftMs * ASK_AGAIN_SHARE);
  const due =
    obtainedAt === undefined ? Math.max(now + leftMs * RENEW_SHARE, soon) : dueAt(expiresAt, obtainedAt).getTime();
  // Rounded up: a client that asks a part of a second too early gets the old token once more.
  const at = Math.ceil((due > now ? due : soon) / 1_000) * 1_000;
  return new Date(at <= expiresAt.getTime() ? at : Math.floor(expiresAt.getTime() / 1_000) * 1_000);
}

/** RFC 3339 without fractions, as Kubernetes writes it. */
export function timestamp(date: Date): string {
  return `${date.toISOString().slice(0, 19)}Z`;
}

/** The claims of a JWT as they are, not verified: for the token's end and for the name that is shown. */
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
