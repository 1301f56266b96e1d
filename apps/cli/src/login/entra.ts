import type { LoginSettings } from "@cluster-connect/api";
import {
  type EntraDeps,
  type EntraMachine,
  type EntraSignIn,
  type EntraToken,
  getEntraMachineToken,
  renewEntraPerson,
  signInAtEntra,
} from "@cluster-connect/auth/azure";
import { ConnectError } from "@cluster-connect/protocol";
import type { CliDeps } from "../deps.ts";
import { networkError } from "../relay/network-error.ts";
import { clusterAudiences } from "../tokens/audiences.ts";
import type { EntraLogin } from "../tokens/login/entra-login.ts";
import type { LoginRecord } from "../tokens/login/login-record.ts";
import { findPipeline } from "../tokens/pipeline/pipeline.ts";
import { isTransientAnswer } from "../tokens/transient-answer.ts";
import { entraAuthority } from "./entra-authority.ts";
import { nameOf } from "./name-of.ts";
import type { SignInOptions } from "./oidc.ts";

interface Options {
  readonly signal: AbortSignal;
}

type Deps = Pick<CliDeps, "now" | "env" | "fetch">;
type MachineLogin = Exclude<EntraLogin, { readonly kind: "person" }>;

/** The audience of another issuer's tokens for an application that trusts them. */
const EXCHANGE_AUDIENCE = "api://AzureADTokenExchange";
const ENTRA_DEPS: EntraDeps = {
  unreachable: (host, cause) => networkError(host, "CC_ISSUER_UNREACHABLE", cause),
  isTransient: isTransientAnswer,
};

/**
 * Signs a person in once, and gets a token for the relay and those for the clusters.
 *
 * @throws ConnectError `CC_LOGIN_FAILED`, `CC_ISSUER_UNREACHABLE`, `CC_TLS_UNTRUSTED`.
 */
export async function signInPerson(
  relay: string,
  settings: LoginSettings,
  how: EntraSignIn,
  options: SignInOptions,
  deps: Deps,
): Promise<LoginRecord> {
  const client = clientOf(settings);
  const signIn = (): ReturnType<typeof signInAtEntra> =>
    signInAtEntra(client, how, settings.audiences.relay, options, ENTRA_DEPS);
  const { token, account } = await trusting(client.authorityHost, signIn, options, deps);
  const record: LoginRecord = {
    relay,
    settings,
    name: nameOf([token.token]),
    refreshToken: undefined,
    tokens: {},
    entra: { kind: "person", ...account },
  };
  const first = withToken(record, settings.audiences.relay, token, deps.now());
  try {
    return await withClusterTokens(first, options, deps);
  } catch (error) {
    if (!(error instanceof ConnectError) || error.code !== "CC_NOT_LOGGED_IN") throw error;
    throw new ConnectError("CC_LOGIN_FAILED", `No token for the clusters: ${error.message}`, {
      hint: "Have the client allowed for the clusters' application too: one sign-in serves relay and clusters.",
      cause: error,
    });
  }
}

/** Gets the first tokens of a login without a person; throws as {@link signInPerson}. */
export async function signInMachine(
  relay: string,
  settings: LoginSettings,
  login: MachineLogin,
  options: SignInOptions,
  deps: Deps,
): Promise<LoginRecord> {
  const record: LoginRecord = { relay, settings, name: "unknown", refreshToken: undefined, tokens: {}, entra: login };
  const first = await renewEntra(record, settings.audiences.relay, options, deps);
  const all = await withClusterTokens(first, options, deps);
  return { ...all, name: nameOf(Object.values(all.tokens).map(({ token }) => token)) };
}

async function withClusterTokens(record: LoginRecord, options: SignInOptions, deps: Deps): Promise<LoginRecord> {
  let renewed = record;
  for (const audience of clusterAudiences(record.settings.audiences, options.clusters)) {
    renewed = await renewEntra(renewed, audience, options, deps);
  }
  return renewed;
}

/**
 * A new token for one audience of a login at Entra.
 *
 * @throws ConnectError `CC_NOT_LOGGED_IN` when only the person can go on, else as {@link signInPerson}.
 */
export async function renewEntra(
  record: LoginRecord,
  audience: string,
  options: Options,
  deps: Deps,
): Promise<LoginRecord> {
  const { entra: login, settings } = record;
  if (login === undefined) throw new ConnectError("CC_NOT_LOGGED_IN", "This login is not one at Entra");
  const client = clientOf(settings);
  if (login.kind !== "person") {
    const machine = machineOf(login, options, deps);
    const get = (): ReturnType<typeof getEntraMachineToken> =>
      getEntraMachineToken(client, machine, audience, options, ENTRA_DEPS);
    const token = await trusting(client.authorityHost, get, options, deps);
    return withToken(record, audience, token, deps.now());
  }
  const renew = (): ReturnType<typeof renewEntraPerson> =>
    renewEntraPerson(client, login, audience, options, ENTRA_DEPS);
  const { token, account } = await trusting(client.authorityHost, renew, options, deps);
  return withToken({ ...record, entra: { kind: "person", ...account } }, audience, token, deps.now());
}

/** Again, when a certificate was not trusted: our own `fetch` then trusts the machine's authorities, for all TLS. */
async function trusting<T>(
  authorityHost: string,
  work: () => Promise<T>,
  options: Options,
  deps: Pick<CliDeps, "fetch">,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof ConnectError) || error.code !== "CC_TLS_UNTRUSTED") throw error;
    const asked = await deps.fetch(authorityHost, { method: "HEAD", redirect: "manual", ...options }).catch(() => {});
    if (asked === undefined) throw error;
    return await work();
  }
}

function clientOf(settings: LoginSettings): ReturnType<typeof entraAuthority> & { readonly clientId: string } {
  return { ...entraAuthority(settings.issuer), clientId: settings.clientId };
}

function machineOf(login: MachineLogin, options: Options, deps: Deps): EntraMachine {
  if (login.kind !== "pipeline") return login;
  return {
    kind: "assertion",
    assertion: async () => {
      const pipeline = findPipeline(deps);
      if (pipeline !== undefined) return await pipeline.token(EXCHANGE_AUDIENCE, options);
      throw new ConnectError("CC_NOT_LOGGED_IN", "The job whose token this login exchanges is over", {
        hint: "Run `cluster-connect login --service-principal` in this job, then repeat the command.",
      });
    },
  };
}

function withToken(record: LoginRecord, audience: string, { token, expiresAt }: EntraToken, now: number): LoginRecord {
  const kept = { token, expiresAt, obtainedAt: new Date(now) };
  return { ...record, tokens: { ...record.tokens, [audience]: kept } };
}
