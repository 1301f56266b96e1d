import { type HeaderLines, isImpersonationHeader, type MappedIdentity } from "@cluster-connect/auth";
import { ConnectError } from "@cluster-connect/protocol";

const EXTRA_PREFIX = "impersonate-extra-";

/**
 * Reads the identity that the caller asks to act as (`kubectl --as`), as the apiserver reads it.
 *
 * @returns undefined when the caller asks for nothing.
 * @throws ConnectError `CC_REQUEST_REFUSED` for a group, uid or extra without a user, for a name in another spelling, and
 *   for values that are not UTF-8.
 */
export function readActing(lines: HeaderLines): MappedIdentity | undefined {
  const asked = lines.filter(([name]) => isImpersonationHeader(name));
  if (asked.length === 0) return undefined;
  let username: string | undefined;
  let uid: string | undefined;
  const groups: string[] = [];
  const extra = new Map<string, string[]>();
  for (const [name, value] of asked) {
    const text = decodeUtf8(value);
    const lower = name.toLowerCase();
    if (lower === "impersonate-user") username = text;
    else if (lower === "impersonate-uid") uid = text;
    else if (lower === "impersonate-group") groups.push(text);
    else if (lower.startsWith(EXTRA_PREFIX)) append(extra, unescapeKey(lower.slice(EXTRA_PREFIX.length)), text);
    else throw refusedActing("it has an Impersonate header that Kubernetes does not know");
  }
  if (username === undefined || username === "") throw refusedActing("it asks to act as somebody without a username");
  return { username, groups, ...(uid === undefined ? {} : { uid }), extra: Object.fromEntries(extra) };
}

function append(extra: Map<string, string[]>, key: string, value: string): void {
  extra.set(key, [...(extra.get(key) ?? []), value]);
}

/** The apiserver takes a malformed escape as it is; which of two readings is meant is not ours to guess. */
function unescapeKey(escaped: string): string {
  try {
    return decodeURIComponent(escaped);
  } catch {
    throw refusedActing("the key of an extra is not percent-encoded UTF-8");
  }
}

function decodeUtf8(value: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.from(value, "latin1"));
  } catch {
    throw refusedActing("an Impersonate header is not UTF-8");
  }
}

function refusedActing(reason: string): ConnectError {
  return new ConnectError("CC_REQUEST_REFUSED", `The request is refused: ${reason}`);
}
