import type { LoginSettings } from "@cluster-connect/api";
import { ConnectError, toConnectError } from "@cluster-connect/protocol";
import type { CliDeps } from "../../deps.ts";
import { MAX_SKEW_MS } from "../../relay/clock-skew.ts";
import { audienceFor } from "../audiences.ts";
import type { CallerTokens } from "../caller-tokens.ts";
import { dueAt, restMs, type StoredToken, urgentAt } from "../stored-token.ts";
import { requireNoClusterToken, requireOneCluster, requireRelayToken } from "../token-audience.ts";
import type { TokenCache } from "../vault/token-cache.ts";
import type { KeptToken, LoginRecord } from "./login-record.ts";

/** Gets a fresh token for one audience of a login, and all else that the issuer replaced. */
export type Renew = (
  record: LoginRecord,
  audience: string,
  options: { readonly signal: AbortSignal },
) => Promise<LoginRecord>;

/**
 * Tokens of a kept login. Many processes that ask at once make one renewal. It happens under the login's lock, and
 * later ones find the new token. A renewal that fails takes nothing away: the old token serves until its known end, and
 * the issuer is left alone for a while.
 */
export function createLoginTokens(
  key: string,
  relay: string,
  cache: TokenCache,
  renew: Renew,
  deps: Pick<CliDeps, "now">,
): CallerTokens {
  async function renewed(found: KeptToken | undefined, audience: string, signal: AbortSignal): Promise<StoredToken> {
    let failure: ConnectError | undefined;
    let isGone = false;
    try {
      const changed = await cache.update(key, { signal, ...waitFor(found, deps.now()) }, async (current) => {
        isGone = current === undefined;
        if (current === undefined) throw notLoggedIn(relay);
        const newer = tokenFor(current, audience);
        if (newer !== undefined && isServing(newer, deps.now())) return current;
        try {
          return await renew(current, audience, { signal });
        } catch (error) {
          signal.throwIfAborted();
          if (newer === undefined || !isValid(newer, deps.now())) throw error;
          failure = toConnectError(error);
          const resting: KeptToken = { ...newer, failedAt: new Date(deps.now()) };
          return { ...current, tokens: { ...current.tokens, [audience]: resting } };
        }
      });
      const kept = tokenFor(changed, audience);
      if (kept === undefined) throw new ConnectError("CC_LOGIN_FAILED", `The issuer gave no token for ${audience}`);
      return failure === undefined ? kept : { ...kept, failure };
    } catch (error) {
      signal.throwIfAborted();
      if (isGone || found === undefined || !isValid(found, deps.now())) throw error;
      return { ...found, failure: toConnectError(error) };
    }
  }

  return {
    async token(purpose, { signal, cluster }) {
      const record = await cache.read(key, { signal });
      if (record === undefined) throw notLoggedIn(relay);
      const audience = audienceFor(record.settings.audiences, purpose, cluster);
      const found = tokenFor(record, audience);
      const token =
        found !== undefined && isServing(found, deps.now()) ? found : await renewed(found, audience, signal);
      if (purpose === "relay") requireForRelay(token.token, record.settings);
      else requireOneCluster(token.token, record.settings.audiences.cluster, audience);
      return token;
    },
  };
}

/** A token that is good for long does not wait while another process renews it. */
function waitFor(found: KeptToken | undefined, now: number): { readonly waitMs?: number } {
  return found !== undefined && now < urgentAt(found.expiresAt, found.obtainedAt).getTime() ? { waitMs: 0 } : {};
}

function tokenFor(record: LoginRecord, audience: string): KeptToken | undefined {
  return Object.hasOwn(record.tokens, audience) ? record.tokens[audience] : undefined;
}

/** The audience that the issuer put into the token decides whether the relay may have it. */
function requireForRelay(token: string, { audiences, resourceParameter }: LoginSettings): void {
  requireRelayToken(token, audiences.relay, { isEntra: resourceParameter === "scope" });
  requireNoClusterToken(token, audiences.cluster);
}

/**
 * Whether a token is handed out without a question to the issuer. One that was got in the future was got by a clock that
 * was wrong and is right by now, or the other way round: its end says nothing.
 */
function isServing(token: KeptToken, now: number): boolean {
  if (token.obtainedAt.getTime() > now + MAX_SKEW_MS) return false;
  if (now < dueAt(token.expiresAt, token.obtainedAt).getTime()) return true;
  if (token.failedAt === undefined || !isValid(token, now)) return false;
  const failedAt = token.failedAt.getTime();
  return now >= failedAt && now < failedAt + restMs(token.expiresAt, failedAt);
}

function isValid({ expiresAt }: KeptToken, now: number): boolean {
  return expiresAt.getTime() > now;
}

function notLoggedIn(relay: string): ConnectError {
  return new ConnectError("CC_NOT_LOGGED_IN", `You are not logged in at ${relay}`, {
    hint: `Run \`cluster-connect login --relay ${relay}\`, then repeat the command.`,
  });
}
