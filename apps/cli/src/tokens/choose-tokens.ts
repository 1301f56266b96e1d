import { join } from "node:path";
import { ConnectError } from "@cluster-connect/protocol";
import type { CliDeps } from "../deps.ts";
import { foldersOf } from "../settings/folders.ts";
import type { CallerTokens, Purpose } from "./caller-tokens.ts";
import { readGivenToken } from "./given-token.ts";
import type { LoginRecord } from "./login-record.ts";
import { createLoginTokens, type Renew } from "./login-tokens.ts";
import { findPipeline, type Pipeline } from "./pipeline.ts";
import { expiryOf } from "./stored-token.ts";
import { createTokenCache, loginKey, type TokenCache } from "./token-cache.ts";
import type { GivenTokens } from "./token-flags.ts";
import { createTokenVault, tokenStoreChoice } from "./token-vault.ts";

/** Where a token does not tell its end. */
const ASSUMED_LIFE_MS = 120_000;

/** The folder with kept logins. */
export function openTokenCache(deps: Pick<CliDeps, "env" | "homeDir" | "openKeyStore">): TokenCache {
  const vault = createTokenVault(tokenStoreChoice(deps.env), deps);
  return createTokenCache(join(foldersOf(deps).state, "logins"), vault);
}

/**
 * Puts this caller's tokens together: a given token serves its own audience; for the rest there is a machine's client
 * (`CLUSTER_CONNECT_CLIENT_ID` and `CLUSTER_CONNECT_CLIENT_SECRET`), the build service of a job, else the kept login.
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
  if (clientId !== "" && secret !== "") {
    return createMachineTokens(
      relay,
      { name: clientId, key: clientId, clientId },
      cache,
      deps,
      async (record, purpose, options) => {
        const { renewClient } = await import("../login/renew.ts");
        return await renewClient(record, purpose, { ...options, secret }, deps);
      },
    );
  }
  const pipeline = findPipeline(deps);
  if (pipeline !== undefined) return createPipelineTokens(relay, pipeline, cache, deps);
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

/** A build service's own tokens, for the audiences that the relay names. */
function createPipelineTokens(relay: URL, pipeline: Pipeline, cache: TokenCache, deps: CliDeps): CallerTokens {
  const machine = { name: pipeline.name, key: pipeline.jobKey };
  return createMachineTokens(relay, machine, cache, deps, async (record, purpose, options) => {
    const audience = record.settings.audiences[purpose];
    const token = await pipeline.token(audience, options);
    const now = deps.now();
    const expiresAt = expiryOf(token) ?? new Date(now + ASSUMED_LIFE_MS);
    return { ...record, tokens: { ...record.tokens, [audience]: { token, expiresAt, obtainedAt: new Date(now) } } };
  });
}

interface Machine {
  /** For the screen. */
  readonly name: string;
  /** Tells its kept tokens from others'. */
  readonly key: string;
  readonly clientId?: string;
}

/** Tokens of a machine: nobody signs in, so a login is begun when there is none. */
function createMachineTokens(
  relay: URL,
  machine: Machine,
  cache: TokenCache,
  deps: CliDeps,
  renew: Renew,
): CallerTokens {
  const key = loginKey(relay.origin, machine.key);
  const tokens = createLoginTokens(key, relay.origin, cache, renew, deps);
  return {
    async token(purpose, options) {
      if ((await cache.read(key, options)) === undefined) await begin(key, relay, machine, cache, options.signal, deps);
      return await tokens.token(purpose, options);
    },
  };
}

/** A machine's login has no tokens at first; its settings come from the relay. */
async function begin(
  key: string,
  relay: URL,
  machine: Machine,
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
    settings: { ...login, clientId: machine.clientId ?? login.clientId },
    name: machine.name,
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
