import { join } from "node:path";
import { ConnectError } from "@cluster-connect/protocol";
import type { CliDeps } from "../deps.ts";
import { foldersOf } from "../settings/folders.ts";
import type { CallerTokens, Purpose } from "./caller-tokens.ts";
import { readGivenToken } from "./given-token.ts";
import type { LoginRecord } from "./login-record.ts";
import { createLoginTokens } from "./login-tokens.ts";
import { createTokenCache, loginKey, type TokenCache } from "./token-cache.ts";
import type { GivenTokens } from "./token-flags.ts";

/** The folder with kept logins. */
export function openTokenCache(deps: Pick<CliDeps, "env" | "homeDir">): TokenCache {
  return createTokenCache(join(foldersOf(deps).state, "logins"));
}

/**
 * Puts this caller's tokens together: a given token serves its own audience; for the rest there is a machine's client
 * (`CLUSTER_CONNECT_CLIENT_ID` and `CLUSTER_CONNECT_CLIENT_SECRET`), else the kept login.
 */
export function chooseTokens(relay: URL, given: GivenTokens, deps: CliDeps): CallerTokens {
  const otherwise = createOtherwise(relay, deps);
  return {
    async token(purpose, options) {
      const found = given[purpose];
      if (found !== undefined) return await readGivenToken(found, deps.now());
      try {
        return await otherwise.token(purpose, options);
      } catch (error) {
        throw explain(purpose, given, error);
      }
    },
  };
}

function createOtherwise(relay: URL, deps: CliDeps): CallerTokens {
  const cache = openTokenCache(deps);
  const clientId = deps.env["CLUSTER_CONNECT_CLIENT_ID"] ?? "";
  const secret = deps.env["CLUSTER_CONNECT_CLIENT_SECRET"] ?? "";
  if (clientId !== "" && secret !== "") return createClientTokens(relay, clientId, secret, cache, deps);
  return createLoginTokens(
    loginKey(relay.origin),
    relay.origin,
    cache,
    async (record, purpose, options) => {
      const { renewLogin } = await import("../login/renew.ts");
      return await renewLogin(record, purpose, options, deps);
    },
    deps,
  );
}

function createClientTokens(
  relay: URL,
  clientId: string,
  secret: string,
  cache: TokenCache,
  deps: CliDeps,
): CallerTokens {
  const key = loginKey(relay.origin, clientId);
  const tokens = createLoginTokens(
    key,
    relay.origin,
    cache,
    async (record, purpose, { signal }) => {
      const { renewClient } = await import("../login/renew.ts");
      return await renewClient(record, purpose, { signal, secret }, deps);
    },
    deps,
  );
  return {
    async token(purpose, options) {
      if ((await cache.read(key)) === undefined) await begin(key, relay, clientId, cache, options.signal, deps);
      return await tokens.token(purpose, options);
    },
  };
}

/** A machine's login has no tokens at first; its settings come from the relay. */
async function begin(
  key: string,
  relay: URL,
  clientId: string,
  cache: TokenCache,
  signal: AbortSignal,
  deps: CliDeps,
): Promise<void> {
  const { fetchRelayInfo } = await import("../relay-api.ts");
  const { login } = await fetchRelayInfo(relay, { signal }, deps);
  if (login === null) {
    throw new ConnectError("CC_LOGIN_FAILED", `${relay.origin} hands out no login settings`, {
      hint: "Give tokens with --token-file and --relay-token-file.",
    });
  }
  const record: LoginRecord = {
    relay: relay.origin,
    settings: { ...login, clientId },
    name: clientId,
    refreshToken: undefined,
    tokens: {},
  };
  await cache.update(key, { signal }, async (current) => current ?? record);
}

/** A token for one audience is no token for the other: say which one is missing. */
function explain(purpose: Purpose, given: GivenTokens, error: unknown): unknown {
  const other: Purpose = purpose === "relay" ? "cluster" : "relay";
  if (given[other] === undefined) return error;
  if (!(error instanceof ConnectError) || error.code !== "CC_NOT_LOGGED_IN") return error;
  const flag = purpose === "relay" ? "--relay-token-file" : "--token-file";
  const variable = purpose === "relay" ? "CLUSTER_CONNECT_RELAY_TOKEN" : "CLUSTER_CONNECT_TOKEN";
  return new ConnectError("CC_NOT_LOGGED_IN", `There is a token for the ${other}, but none for the ${purpose}`, {
    hint: `Give ${flag} FILE or set ${variable}, or run \`cluster-connect login\`.`,
    cause: error,
  });
}
