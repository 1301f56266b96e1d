import { join } from "node:path";
import type { LoginSettings } from "@cluster-connect/api";
import { ConnectError, clusterAudienceOf, ERRORS } from "@cluster-connect/protocol";
import type { CliDeps } from "../deps.ts";
import { foldersOf } from "../settings/folders.ts";
import { printable } from "../terminal/printable.ts";
import type { NamedLogin } from "./audiences.ts";
import type { CallerTokens, Purpose, TokenOptions } from "./caller-tokens.ts";
import { readGivenText, readGivenToken } from "./given/given-token.ts";
import type { GivenTokens } from "./given/token-flags.ts";
import { createLoginTokens, type Renew } from "./login/login-tokens.ts";
import { createMachineTokens, type Machine } from "./login/machine-tokens.ts";
import type { Pipeline } from "./pipeline/build-service.ts";
import { findPipeline } from "./pipeline/pipeline.ts";
import { type StoredToken, timestamp } from "./stored-token.ts";
import { requireDifferentTokens, requireOneCluster } from "./token-audience.ts";
import { createTokenEnd, type TokenEnd } from "./token-end.ts";
import { createTokenCache, loginKey, type TokenCache } from "./vault/token-cache.ts";
import { createTokenVault, tokenStoreChoice } from "./vault/token-vault.ts";

/** Where a token does not tell its end. */
const ASSUMED_LIFE_MS = 120_000;

/** The folder with kept logins. */
export function openTokenCache(deps: Pick<CliDeps, "env" | "homeDir" | "openKeyStore">): TokenCache {
  const vault = createTokenVault(tokenStoreChoice(deps.env), deps);
  return createTokenCache(join(foldersOf(deps).state, "logins"), vault);
}

/**
 * Puts this caller's tokens together. A given token serves its own audience. For the rest there is a machine's client
 * (`CLUSTER_CONNECT_CLIENT_ID` and `CLUSTER_CONNECT_CLIENT_SECRET`), the build service of a job, else the kept login.
 */
export function chooseTokens(relay: URL, given: GivenTokens, deps: CliDeps): CallerTokens {
  const endOf = createTokenEnd(relay, deps);
  const own = createOwnTokens(relay, given.named, endOf, deps);
  async function find(purpose: Purpose, options: TokenOptions): Promise<StoredToken> {
    const found = given[purpose];
    if (found !== undefined) {
      const token = await readGivenToken(found, options, { endOf, now: deps.now });
      if (purpose === "cluster") requireItsCluster(token, given.named, options);
      return token;
    }
    try {
      return await own.token(purpose, options);
    } catch (error) {
      throw explainMissingToken(purpose, given, error);
    }
  }
  const told = new Set<Purpose>();
  return {
    async token(purpose, options) {
      const token = await find(purpose, options);
      if (token.failure !== undefined && !ERRORS[token.failure.code].retry && !told.has(purpose)) {
        told.add(purpose);
        deps.stderr.write(describeRefusal(purpose, token, token.failure));
      }
      // A token that works at the clusters is not sent to the relay.
      const other = purpose === "relay" ? given.cluster : given.relay;
      if (other !== undefined) requireDifferentTokens(token.token, await readGivenText(other));
      return token;
    },
  };
}

/** A refusal stays until the person does something; a failure that passes by itself is not worth a line. */
function describeRefusal(purpose: Purpose, { expiresAt }: StoredToken, { message, hint }: ConnectError): string {
  const end = expiresAt === undefined ? "its end" : timestamp(expiresAt);
  return `warning: ${printable(message)}; the token for the ${purpose} that is kept serves until ${end}\n         ${printable(hint)}\n`;
}

/** A given token for one cluster is not sent to another, where the person has named the audience of each. */
function requireItsCluster({ token }: StoredToken, { clusterAudience }: NamedLogin, { cluster }: TokenOptions): void {
  if (clusterAudience === undefined || cluster === undefined) return;
  requireOneCluster(token, clusterAudience, clusterAudienceOf(clusterAudience, cluster));
}

/** One of the two variables means a machine's client; no other login is taken instead. */
function halfClient(isIdMissing: boolean): ConnectError {
  const [missing, other] = isIdMissing ? ["CLIENT_ID", "CLIENT_SECRET"] : ["CLIENT_SECRET", "CLIENT_ID"];
  return new ConnectError("CC_USAGE", `CLUSTER_CONNECT_${other} is set, but CLUSTER_CONNECT_${missing} is not`, {
    hint: "Set both for a machine's client, or neither.",
  });
}

function createOwnTokens(relay: URL, named: NamedLogin, endOf: TokenEnd, deps: CliDeps): CallerTokens {
  const cache = openTokenCache(deps);
  const clientId = deps.env["CLUSTER_CONNECT_CLIENT_ID"] ?? "";
  const secret = deps.env["CLUSTER_CONNECT_CLIENT_SECRET"] ?? "";
  if ((clientId === "") !== (secret === "")) {
    const error = halfClient(clientId === "");
    return { token: async () => await Promise.reject(error) };
  }
  if (clientId !== "" && secret !== "") {
    const machine: Machine = { kind: "client", name: clientId, key: clientId, clientId };
    const renew: Renew = async (record, audience, options) => {
      const { renewClient } = await import("../login/renew.ts");
      return await renewClient(record, audience, { ...options, secret }, deps);
    };
    return createMachineTokens(relay, { machine, named, renew }, cache, deps);
  }
  const pipeline = findPipeline({ ...deps, endOf });
  const key = loginKey(relay.origin);
  const service =
    pipeline === undefined ? undefined : createPipelineTokens({ relay, pipeline, named, endOf }, cache, deps);
  const login = createLoginTokens(
    key,
    relay.origin,
    cache,
    async (record, audience, options) => {
      const { renewLogin } = await import("../login/renew.ts");
      return await renewLogin(record, audience, options, deps);
    },
    deps,
  );
  return {
    async token(purpose, options) {
      // A job that has exchanged its token by `login` means what it got for it.
      const isExchanged = async (): Promise<boolean> => (await cache.read(key, options))?.entra?.kind === "pipeline";
      if (service !== undefined && !(await isExchanged())) return await service.token(purpose, options);
      await requireSameLogin(relay, named, cache, options);
      return await login.token(purpose, options);
    },
  };
}

/** A login is for the audiences that were accepted when it was made. A person who names another has to log in again. */
async function requireSameLogin(
  relay: URL,
  named: NamedLogin,
  cache: TokenCache,
  options: TokenOptions,
): Promise<void> {
  if (named.relayAudience === undefined && named.clusterAudience === undefined) return;
  const record = await cache.read(loginKey(relay.origin), options);
  const changed = record === undefined ? undefined : otherPurpose(record.settings, named);
  if (changed === undefined) return;
  throw new ConnectError(
    "CC_TOKEN_AUDIENCE",
    `Your login at ${relay.origin} is for another audience of the ${changed}`,
    {
      hint: `Run \`cluster-connect login --relay ${relay.origin}\` with the audiences that you name, then repeat the command.`,
    },
  );
}

function otherPurpose({ audiences }: LoginSettings, named: NamedLogin): Purpose | undefined {
  if (named.relayAudience !== undefined && named.relayAudience !== audiences.relay) return "relay";
  return named.clusterAudience !== undefined && named.clusterAudience !== audiences.cluster ? "cluster" : undefined;
}

/** A build service's own tokens. */
function createPipelineTokens(
  job: { readonly relay: URL; readonly pipeline: Pipeline; readonly named: NamedLogin; readonly endOf: TokenEnd },
  cache: TokenCache,
  deps: CliDeps,
): CallerTokens {
  const { relay, pipeline, named, endOf } = job;
  const { name, jobKey, hasOwnAudiences } = pipeline;
  const machine: Machine = { kind: "service", name, key: jobKey, hasOwnAudiences };
  const renew: Renew = async (record, audience, options) => {
    const token = await pipeline.token(audience, options);
    const now = deps.now();
    const expiresAt = (await endOf(token, options)) ?? new Date(now + ASSUMED_LIFE_MS);
    return { ...record, tokens: { ...record.tokens, [audience]: { token, expiresAt, obtainedAt: new Date(now) } } };
  };
  return createMachineTokens(relay, { machine, named, renew }, cache, deps);
}

/** A token for one audience is no token for the other: say which one is missing. */
function explainMissingToken(purpose: Purpose, given: GivenTokens, error: unknown): unknown {
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
