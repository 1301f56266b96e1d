import { ConnectError } from "@cluster-connect/protocol";
import { shellWord } from "../terminal/shell-word.ts";

/** Scopes of OpenID Connect and such as people name themselves; never one that names a resource, as `Mail.Read` does. */
const HARMLESS = /^[a-z][a-z0-9_-]{0,40}$/;
const MAX_SCOPES = 16;

/**
 * Scopes that a relay asks for.
 *
 * @throws ConnectError `CC_AUDIENCE_REFUSED` for one that may stand for a resource of others.
 */
export function scopesFrom(announced: readonly string[]): readonly string[] {
  const odd = announced.find((scope) => !HARMLESS.test(scope));
  if (odd === undefined && announced.length <= MAX_SCOPES) return announced;
  const what = odd === undefined ? `${announced.length} scopes` : `the scope ${shellWord(odd)}`;
  throw new ConnectError("CC_AUDIENCE_REFUSED", `The relay asks for ${what}, which may be rights elsewhere`, {
    hint: "If the relay's administrator says so too, name each scope with --scope.",
  });
}
