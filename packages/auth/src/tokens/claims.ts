import { ConnectError } from "@cluster-connect/protocol";
import { isObject } from "../json.ts";
import type { Claims, MappedIdentity } from "./principal.ts";

/** A claim and what is put before its value; "" for nothing. */
export interface PrefixedClaim {
  readonly claim: string;
  readonly prefix: string;
}

/** Which claims make an identity. */
export interface ClaimMapping {
  readonly username: PrefixedClaim;
  readonly groups?: PrefixedClaim;
  readonly uid?: { readonly claim: string };
}

/** Treatment of a token whose issuer left the groups out because there are too many (`_claim_names`). */
export type GroupOverage = "refuse" | "ignore";

/**
 * Claims → identity by plain claim names, as Kubernetes' `claimMappings` without expressions.
 *
 * @throws ConnectError `CC_IDENTITY_REFUSED` naming the claim that is missing or of the wrong kind.
 */
export function createClaimMapper(mapping: ClaimMapping): (claims: Claims) => MappedIdentity {
  const { username, groups, uid } = mapping;
  return (claims) => ({
    username: usernameFromClaim(claims, username),
    groups: groups === undefined ? [] : groupsFromClaim(claims, groups),
    ...(uid === undefined ? {} : { uid: uidFromClaim(claims, uid.claim) }),
    extra: {},
  });
}

/** @throws ConnectError `CC_IDENTITY_REFUSED` unless the claim is a string with at least one character. */
export function usernameFromClaim(claims: Claims, { claim, prefix }: PrefixedClaim): string {
  const value = requiredText(claims, claim, "username");
  if (claim === "email" && Object.hasOwn(claims, "email_verified") && claims["email_verified"] !== true) {
    throw refusedClaims("the token's email is not verified (email_verified)");
  }
  return prefix + value;
}

/** A string or a list of strings; missing and null are no groups, "" is left out. */
export function groupsFromClaim(claims: Claims, { claim, prefix }: PrefixedClaim): readonly string[] {
  const groups = textList(ownClaim(claims, claim), `the claim ${claim} (groups)`);
  return groups.map((group) => prefix + group);
}

/** @throws ConnectError `CC_IDENTITY_REFUSED` unless the claim is a string with at least one character. */
export function uidFromClaim(claims: Claims, claim: string): string {
  return requiredText(claims, claim, "uid");
}

/**
 * A string or a list of strings as a list, without empty ones; missing and null are the empty list.
 *
 * @throws ConnectError `CC_IDENTITY_REFUSED` on any other value.
 */
export function textList(value: unknown, what: string): readonly string[] {
  if (value === undefined || value === null || value === "") return [];
  if (typeof value === "string") return [value];
  if (Array.isArray(value) && value.every((entry) => typeof entry === "string")) {
    return value.filter((entry) => entry !== "");
  }
  throw refusedClaims(`${what} is neither a string nor a list of strings`);
}

/**
 * Refuses a token that points elsewhere for its groups: this code does not follow the pointer.
 *
 * @throws ConnectError `CC_IDENTITY_REFUSED` when `_claim_names` names the claim and the claim is not there.
 */
export function refuseGroupOverage(claims: Claims, claim: string): void {
  const names = ownClaim(claims, "_claim_names");
  if (!isObject(names) || !Object.hasOwn(names, claim)) return;
  if (ownClaim(claims, claim) !== undefined) return;
  throw refusedClaims(`the token has too many groups to carry: its issuer left out the claim ${claim} (_claim_names)`);
}

/** A claim of the token itself, never something an object inherits. */
export function ownClaim(claims: Claims, claim: string): unknown {
  return Object.hasOwn(claims, claim) ? claims[claim] : undefined;
}

function requiredText(claims: Claims, claim: string, use: string): string {
  const value = ownClaim(claims, claim);
  if (value === undefined) throw refusedClaims(`the token has no claim ${claim} (${use})`);
  if (typeof value !== "string") throw refusedClaims(`the claim ${claim} (${use}) is not a string`);
  if (value === "") throw refusedClaims(`the claim ${claim} (${use}) is empty`);
  return value;
}

function refusedClaims(reason: string): ConnectError {
  return new ConnectError("CC_IDENTITY_REFUSED", `The caller's identity is refused: ${reason}`);
}
