import { ConnectError } from "@cluster-connect/protocol";
import { type CryptoKey, compactVerify, errors } from "jose";
import { fetchDocument } from "../keys/document.ts";
import { createKeySet, type KeySet, type KeySetDeps, type KeySetOptions, type KeySetStatus } from "../keys/jwks.ts";
import { CLOCK_LEEWAY_MS } from "../limits.ts";
import { ownClaim } from "./claims.ts";
import { createIssuerLookup, type TrustedIssuer } from "./issuers.ts";
import type { Claims, Principal } from "./principal.ts";
import { parseUnverified, type UnverifiedToken } from "./unverified.ts";

/** Verifies callers' tokens. */
export interface TokenVerifier {
  /**
   * Every check of a token, in this order: form, issuer, algorithm, key, signature, audience, times, rules, mapping.
   *
   * @throws ConnectError that names the check: `CC_TOKEN_MISSING`, `CC_TOKEN_INVALID`, `CC_TOKEN_ISSUER`,
   *   `CC_TOKEN_AUDIENCE`, `CC_TOKEN_EXPIRED`, `CC_IDENTITY_REFUSED`, or `CC_ISSUER_UNREACHABLE` when nothing can be
   *   said about it. A message never shows what an unverified token says.
   */
  verify(token: string, options: { readonly signal: AbortSignal }): Promise<Principal>;
  /** Fetches every issuer's keys. @throws ConnectError of the first issuer that has none. */
  load(options: { readonly signal: AbortSignal }): Promise<void>;
  /** How each issuer's keys are. */
  status(): readonly KeySetStatus[];
  /**
   * Whether a caller that was verified earlier would be the same one by what is trusted now: issuer, audience, rules and
   * mapping. The signature and the times are not looked at again.
   */
  holds(principal: Principal): boolean;
}

/** Whether tokens of the issuer are accepted now; a session or stream may be older than the answer. */
export function isTrustedIssuer(verifier: Pick<TokenVerifier, "status">, issuer: string): boolean {
  return verifier.status().some((status) => status.issuer === issuer);
}

export type VerifierOptions = KeySetOptions;
export type VerifierDeps = KeySetDeps;

/** Real clock, real network. */
export const SYSTEM_VERIFIER_DEPS: VerifierDeps = { fetchDocument, now: Date.now };

/** @throws ConnectError `CC_CONFIG_INVALID` when two issuers have one URL. */
export function createTokenVerifier(
  issuers: readonly TrustedIssuer[],
  options: VerifierOptions = {},
  deps: VerifierDeps = SYSTEM_VERIFIER_DEPS,
): TokenVerifier {
  return createVerifierWith(
    issuers.map((issuer) => ({ issuer, keys: createKeySet(issuer, options, deps) })),
    deps,
  );
}

/** An issuer and where its keys come from. */
export interface IssuerKeys {
  readonly issuer: TrustedIssuer;
  readonly keys: KeySet;
}

/** As {@link createTokenVerifier}, with key sets that are there. */
export function createVerifierWith(issuers: readonly IssuerKeys[], deps: Pick<VerifierDeps, "now">): TokenVerifier {
  const trusted = issuers.map(({ issuer, keys }) => ({ url: issuer.url, issuer, keys }));
  const find = createIssuerLookup(trusted);
  return {
    async verify(text, { signal }) {
      signal.throwIfAborted();
      const token = parseUnverified(text);
      const found = find(token.issuer);
      if (found === undefined) {
        throw new ConnectError("CC_TOKEN_ISSUER", "The token's issuer (iss) is not one that is trusted here");
      }
      const { issuer, keys } = found;
      const claims = await verifySignature(token, issuer, keys, signal);
      checkAudience(claims, issuer);
      const expiresAt = checkTimes(claims, deps.now());
      issuer.validate?.(claims);
      return { ...issuer.map(claims), issuer: issuer.url, subject: subjectOf(claims), expiresAt, claims };
    },
    async load(loadOptions) {
      await Promise.all(trusted.map(({ keys }) => keys.load(loadOptions)));
    },
    status: () => trusted.map(({ keys }) => keys.status()),
    holds(principal) {
      const issuer = find(principal.issuer)?.issuer;
      return issuer !== undefined && isSameCaller(issuer, principal);
    },
  };
}

function isSameCaller(issuer: TrustedIssuer, { claims, username, groups }: Principal): boolean {
  try {
    checkAudience(claims, issuer);
    issuer.validate?.(claims);
    const mapped = issuer.map(claims);
    return mapped.username === username && mapped.groups.join("\n") === groups.join("\n");
  } catch {
    return false;
  }
}

async function verifySignature(
  token: UnverifiedToken,
  issuer: TrustedIssuer,
  keys: KeySet,
  signal: AbortSignal,
): Promise<Claims> {
  const { alg } = token.header;
  if (!issuer.algorithms.some((allowed) => allowed === alg)) {
    throw invalidToken(`The token's algorithm (alg) is none of ${issuer.algorithms.join(", ")}`);
  }
  const key = await keys.key(token.header, { signal });
  await assertSigned(token, key, issuer);
  return token.claims;
}

async function assertSigned(token: UnverifiedToken, key: CryptoKey, issuer: TrustedIssuer): Promise<void> {
  try {
    await compactVerify(token.text, key, { algorithms: [...issuer.algorithms] });
  } catch (cause) {
    if (cause instanceof errors.JWSSignatureVerificationFailed)
      throw invalidToken("The token's signature is wrong", cause);
    throw invalidToken("The token's signature cannot be checked with its issuer's key", cause);
  }
}

function checkAudience(claims: Claims, issuer: TrustedIssuer): void {
  const aud = ownClaim(claims, "aud");
  const audiences: readonly unknown[] = Array.isArray(aud) ? aud : [aud];
  if (issuer.audiences.some((audience) => audiences.includes(audience))) return;
  const expected = issuer.audiences.join(" or ");
  throw new ConnectError(
    "CC_TOKEN_AUDIENCE",
    `The token is not for this server: its audience (aud) is not ${expected}`,
  );
}

function checkTimes(claims: Claims, now: number): Date {
  const expiresAt = timeOf(claims, "exp");
  if (expiresAt === undefined) throw invalidToken("The token has no end (exp)");
  if (now >= expiresAt + CLOCK_LEEWAY_MS) {
    throw new ConnectError("CC_TOKEN_EXPIRED", `The token has expired (exp) at ${new Date(expiresAt).toISOString()}`);
  }
  const notBefore = timeOf(claims, "nbf");
  if (notBefore !== undefined && now < notBefore - CLOCK_LEEWAY_MS) {
    throw new ConnectError("CC_TOKEN_INVALID", notYetValid(notBefore, now), { hint: CLOCK_HINT });
  }
  // As at the kube-apiserver, the time of issue decides nothing: a clock that is slow here must not refuse its tokens.
  timeOf(claims, "iat");
  return new Date(expiresAt);
}

const CLOCK_HINT =
  "Have the server's clock set right (NTP): it is behind the issuer's, or the token was made for later. Another login does not help.";

function notYetValid(notBefore: number, now: number): string {
  const [from, here] = [notBefore, now].map((time) => new Date(time).toISOString());
  return `The token is not yet valid (nbf), only from ${from}; the clock here says ${here}`;
}

/** A NumericDate in milliseconds. */
function timeOf(claims: Claims, claim: string): number | undefined {
  const seconds = ownClaim(claims, claim);
  if (seconds === undefined) return undefined;
  // A Date holds at most 8.64e15 ms.
  if (typeof seconds === "number" && seconds >= 0 && seconds <= 8_640_000_000_000) return seconds * 1_000;
  throw invalidToken(`The token's ${claim} is not a time in seconds`);
}

function subjectOf(claims: Claims): string {
  const subject = ownClaim(claims, "sub");
  if (typeof subject === "string" && subject !== "") return subject;
  throw invalidToken("The token names no subject (sub)");
}

function invalidToken(message: string, cause?: unknown): ConnectError {
  return new ConnectError("CC_TOKEN_INVALID", message, { cause });
}
