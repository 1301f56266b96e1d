import { ConnectError, ERRORS, toConnectError } from "@cluster-connect/protocol";
import type { CliDeps } from "../deps.ts";
import type { CallerTokens, Purpose } from "./caller-tokens.ts";
import type { KeptToken, LoginRecord } from "./login-record.ts";
import { dueAt, type StoredToken } from "./stored-token.ts";
import type { TokenCache } from "./token-cache.ts";

/** Gets a fresh token for one audience of a login, and whatever else the issuer replaced. */
export type Renew = (
  record: LoginRecord,
  purpose: Purpose,
  options: { readonly signal: AbortSignal },
) => Promise<LoginRecord>;

/**
 * Tokens of a kept login. Many processes that ask at once make one renewal: it happens under the login's lock, and
 * who comes later finds the new token.
 */
export function createLoginTokens(
  key: string,
  relay: string,
  cache: TokenCache,
  renew: Renew,
  deps: Pick<CliDeps, "now">,
): CallerTokens {
  return {
    async token(purpose, { signal }) {
      const record = await cache.read(key, { signal });
      if (record === undefined) throw notLoggedIn(relay);
      const found = tokenFor(record, purpose);
      if (found !== undefined && isFresh(found, deps.now())) return found;
      try {
        const changed = await cache.update(key, { signal }, async (current) => {
          if (current === undefined) throw notLoggedIn(relay);
          const newer = tokenFor(current, purpose);
          return newer !== undefined && isFresh(newer, deps.now())
            ? current
            : await renew(current, purpose, { signal });
        });
        const token = tokenFor(changed, purpose);
        if (token !== undefined) return token;
        throw new ConnectError("CC_LOGIN_FAILED", `The issuer gave no token for the ${purpose}`);
      } catch (error) {
        return stillGood(found, toConnectError(error), deps.now());
      }
    },
  };
}

/** The kept token for the relay or the clusters. */
function tokenFor(record: LoginRecord, purpose: Purpose): KeptToken | undefined {
  const audience = record.settings.audiences[purpose];
  return Object.hasOwn(record.tokens, audience) ? record.tokens[audience] : undefined;
}

function isFresh(token: KeptToken, now: number): boolean {
  return now < dueAt(token.expiresAt, token.obtainedAt).getTime();
}

/** When the issuer is away for a moment, the old token serves until its very end. */
function stillGood(found: KeptToken | undefined, error: ConnectError, now: number): StoredToken {
  if (found !== undefined && ERRORS[error.code].retry && found.expiresAt.getTime() > now) return found;
  throw error;
}

function notLoggedIn(relay: string): ConnectError {
  return new ConnectError("CC_NOT_LOGGED_IN", `You are not logged in at ${relay}`, {
    hint: `Run \`cluster-connect login --relay ${relay}\`, then repeat the command.`,
  });
}
