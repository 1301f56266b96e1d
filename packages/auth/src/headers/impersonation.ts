import { ConnectError } from "@cluster-connect/protocol";
import type { MappedIdentity } from "../tokens/principal.ts";
import { extraKeyFault } from "./extra-key.ts";
import type { HeaderLine, HeaderLines } from "./headers.ts";
import { assertName } from "./names.ts";

/** Most groups of one identity; each costs the apiserver an authorisation. */
export const MAX_GROUPS = 512;
/** Most extra values of one identity. */
export const MAX_EXTRA_VALUES = 64;

// A namespace is a DNS label, an account a DNS subdomain: the apiserver takes every other name for a user's.
const SERVICE_ACCOUNT =
  /^system:serviceaccount:([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?):(?=.{1,253}$)([a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*)$/;
const NODE = /^system:node:(.+)$/;

// RFC 9110's token without the percent sign, which begins an escape.
const KEY_BYTE = /[a-z0-9!#$&'*+\-.^_`|~]/;

/** A service account's namespace and name, or undefined for any other user. */
export function parseServiceAccount(
  username: string,
): { readonly namespace: string; readonly name: string } | undefined {
  const match = SERVICE_ACCOUNT.exec(username);
  const [, namespace, name] = match ?? [];
  return namespace === undefined || name === undefined ? undefined : { namespace, name };
}

/** Groups of a name by itself under Kubernetes' constrained impersonation, which takes no others for such a name. */
export interface ImpliedGroups {
  readonly groups: readonly string[];
  /** Whether legacy impersonation adds them as well where no group is asked for. */
  readonly always: boolean;
}

/** @returns undefined for all other users, which have the groups that are asked for. */
export function impliedGroups(username: string): ImpliedGroups | undefined {
  const account = parseServiceAccount(username);
  if (account !== undefined) {
    return { groups: ["system:serviceaccounts", `system:serviceaccounts:${account.namespace}`], always: true };
  }
  return NODE.test(username) ? { groups: ["system:nodes"], always: false } : undefined;
}

/**
 * An identity as the lines that make the apiserver act as it: user, uid, one line for each group in order, extras.
 *
 * Values are UTF-8 whose bytes are written as Latin-1, which is what `node:http` sends byte for byte.
 *
 * @param options.anyExtraKey Takes keys of extras that are in no domain, as a caller may ask for them by `--as`.
 * @throws ConnectError `CC_IDENTITY_REFUSED` naming what cannot be written without being read as something else.
 */
export function impersonationHeaders(
  identity: MappedIdentity,
  options: { readonly anyExtraKey?: boolean } = {},
): HeaderLines {
  assertName("username", identity.username);
  const lines: HeaderLine[] = [["Impersonate-User", wireText(identity.username)]];
  if (identity.uid !== undefined) {
    assertName("uid", identity.uid);
    lines.push(["Impersonate-Uid", wireText(identity.uid)]);
  }
  if (identity.groups.length > MAX_GROUPS) throw refusedIdentity(`there are more than ${MAX_GROUPS} groups`);
  for (const group of identity.groups) {
    assertName("group", group);
    lines.push(["Impersonate-Group", wireText(group)]);
  }
  return [...lines, ...extraHeaders(identity.extra, options.anyExtraKey ?? false)];
}

function extraHeaders(extra: MappedIdentity["extra"], anyKey: boolean): HeaderLines {
  const lines = Object.entries(extra).flatMap(([key, values]) => {
    const fault = anyKey ? (key === "" ? "is empty" : undefined) : extraKeyFault(key);
    if (fault !== undefined) throw refusedIdentity(`the key of an extra ${fault}`);
    return values.map((value): HeaderLine => {
      assertName("extra value", value);
      return [`Impersonate-Extra-${escapeExtraKey(key)}`, wireText(value)];
    });
  });
  if (lines.length > MAX_EXTRA_VALUES) throw refusedIdentity(`there are more than ${MAX_EXTRA_VALUES} extra values`);
  return lines;
}

/**
 * An extra's key as part of a header's name: characters that a name may not hold are percent-encoded, and so is `%`.
 */
export function escapeExtraKey(key: string): string {
  return [...Buffer.from(key)]
    .map((byte) => {
      const character = String.fromCharCode(byte);
      return KEY_BYTE.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
    })
    .join("");
}

/** UTF-8 as a string with one character for each byte. */
function wireText(text: string): string {
  return Buffer.from(text).toString("latin1");
}

function refusedIdentity(reason: string): ConnectError {
  return new ConnectError("CC_IDENTITY_REFUSED", `The caller's identity is refused: ${reason}`);
}
