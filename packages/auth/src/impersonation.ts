import { ConnectError } from "@cluster-connect/protocol";
import { extraKeyFault } from "./extra-key.ts";
import type { HeaderLine, HeaderLines } from "./headers.ts";
import { assertName } from "./names.ts";
import type { MappedIdentity } from "./principal.ts";

/** Most groups of one identity; each costs the apiserver an authorisation. */
export const MAX_GROUPS = 512;
/** Most extra values of one identity. */
export const MAX_EXTRA_VALUES = 64;

const SERVICE_ACCOUNT = /^system:serviceaccount:([^:]+):([^:]+)$/;
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

/** Whether Kubernetes' constrained impersonation takes the username of this user and nothing else. */
export function isUsernameOnly(username: string): boolean {
  return parseServiceAccount(username) !== undefined || NODE.test(username);
}

/**
 * An identity as the lines that make the apiserver act as it: user, uid, one line for each group in order, extras.
 *
 * Values are UTF-8 whose bytes are written as Latin-1, which is what `node:http` sends byte for byte.
 *
 * @throws ConnectError `CC_IDENTITY_REFUSED` naming what cannot be written without being read as something else.
 */
export function impersonationHeaders(identity: MappedIdentity): HeaderLines {
  assertName("username", identity.username);
  const lines: HeaderLine[] = [["Impersonate-User", wireText(identity.username)]];
  if (identity.uid !== undefined) {
    assertName("uid", identity.uid);
    lines.push(["Impersonate-Uid", wireText(identity.uid)]);
  }
  if (identity.groups.length > MAX_GROUPS) throw refused(`there are more than ${MAX_GROUPS} groups`);
  for (const group of identity.groups) {
    assertName("group", group);
    lines.push(["Impersonate-Group", wireText(group)]);
  }
  return [...lines, ...extraHeaders(identity.extra)];
}

function extraHeaders(extra: MappedIdentity["extra"]): HeaderLines {
  const lines = Object.entries(extra).flatMap(([key, values]) => {
    const fault = extraKeyFault(key);
    if (fault !== undefined) throw refused(`the key of an extra ${fault}`);
    return values.map((value): HeaderLine => {
      assertName("extra value", value);
      return [`Impersonate-Extra-${escapeExtraKey(key)}`, wireText(value)];
    });
  });
  if (lines.length > MAX_EXTRA_VALUES) throw refused(`there are more than ${MAX_EXTRA_VALUES} extra values`);
  return lines;
}

/** An extra's key as part of a header's name: what a name may not hold is percent-encoded, and so is `%`. */
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

function refused(reason: string): ConnectError {
  return new ConnectError("CC_IDENTITY_REFUSED", `The caller's identity is refused: ${reason}`);
}
