import { ConnectError } from "@cluster-connect/protocol";

/** Longest username, uid, group or extra value, in bytes of UTF-8. */
export const MAX_NAME_BYTES = 1_024;

/** The prefix that Kubernetes keeps for itself. */
const SYSTEM_PREFIX = "system:";

// Control characters, line and paragraph separators, and characters that turn the direction of text round.
const UNSAFE = /[\p{Cc}\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/u;

/** The purpose of a name, in messages. */
export type NameKind = "username" | "uid" | "group" | "extra value";

/**
 * Refuses a name that could be read as another one; nothing is repaired.
 *
 * @throws ConnectError `CC_IDENTITY_REFUSED` when it is empty, too long, has control characters or outer blanks.
 */
export function assertName(kind: NameKind, value: string): void {
  if (value === "") throw refusedName(`the ${kind} is empty`);
  if (Buffer.byteLength(value) > MAX_NAME_BYTES) throw refusedName(`the ${kind} has more than ${MAX_NAME_BYTES} bytes`);
  if (!value.isWellFormed()) throw refusedName(`the ${kind} is not well-formed text`);
  if (UNSAFE.test(value)) throw refusedName(`the ${kind} has control characters`);
  if (value.trim() !== value) throw refusedName(`the ${kind} begins or ends with a blank`);
}

/**
 * Refuses a name that Kubernetes keeps for itself, unless it is on the issuer's list.
 *
 * @param allowed exact names, or prefixes that end with `*`.
 * @throws ConnectError `CC_IDENTITY_REFUSED` when it begins with `system:` in any case.
 */
export function assertNotSystem(kind: NameKind, value: string, allowed: readonly string[]): void {
  if (!value.toLowerCase().startsWith(SYSTEM_PREFIX)) return;
  if (allowed.some((pattern) => matchesName(pattern, value))) return;
  throw refusedName(`the ${kind} begins with ${SYSTEM_PREFIX}, which is Kubernetes' own`);
}

/** Whether a name is the pattern, or begins with it when it ends with `*`. */
export function matchesName(pattern: string, value: string): boolean {
  return pattern.endsWith("*") ? value.startsWith(pattern.slice(0, -1)) : pattern === value;
}

/** Which of a caller's groups are passed on; absent lists pass all. */
export interface GroupFilter {
  /** Exact names, or prefixes that end with `*`. */
  readonly only: readonly string[];
}

/** The groups that pass, in their order. */
export function filterGroups(groups: readonly string[], filter: GroupFilter | undefined): readonly string[] {
  if (filter === undefined) return groups;
  return groups.filter((group) => filter.only.some((pattern) => matchesName(pattern, group)));
}

function refusedName(reason: string): ConnectError {
  return new ConnectError("CC_IDENTITY_REFUSED", `The caller's identity is refused: ${reason}`);
}
