import type { LoginSettings } from "@cluster-connect/api";
import { type ClusterId, ConnectError } from "@cluster-connect/protocol";
import {
  allowInsecureRequests,
  type ClientAuth,
  ClientSecretBasic,
  ClientSecretPost,
  type Configuration,
  clockSkew,
  customFetch,
  discovery,
  None,
  type TokenEndpointResponse,
} from "openid-client";
import type { CliDeps } from "../deps.ts";
import { isLoopback } from "../relay/address.ts";
import { type ClockSkew, isOff, watchClock } from "../relay/clock-skew.ts";
import { shellWord } from "../terminal/shell-word.ts";
import { clusterAudiences } from "../tokens/audiences.ts";
import type { KeptToken } from "../tokens/login/login-record.ts";
import { expiryOf, unverifiedClaims } from "../tokens/stored-token.ts";
import { issuerError } from "./issuer-error.ts";
import { withStandardNames } from "./standard-names.ts";

export interface SignInOptions {
  readonly signal: AbortSignal;
  /** Named at the login. */
  readonly clusters: readonly ClusterId[];
}

export type OidcDeps = Pick<CliDeps, "fetch" | "now">;

/** An issuer that was found. */
export interface DiscoveredIssuer {
  readonly configuration: Configuration;
  /** How this machine's clock differs from the issuer's; tokens are judged by the issuer's. */
  readonly skew: ClockSkew;
}

const TIMEOUT_SECONDS = 15;
/** Where neither the answer nor the token says when it ends. */
const ASSUMED_LIFE_MS = 300_000;

/**
 * Reads an issuer's discovery document.
 *
 * @param options `secret` is a machine's; a person's client has at most the one of the settings, which is none.
 * @throws ConnectError `CC_ISSUER_UNREACHABLE`, `CC_TLS_UNTRUSTED` or `CC_LOGIN_FAILED`.
 */
export async function discoverIssuer(
  settings: Pick<LoginSettings, "issuer" | "clientId" | "clientSecret">,
  options: { readonly signal: AbortSignal; readonly secret?: string },
  deps: OidcDeps,
): Promise<DiscoveredIssuer> {
  const url = URL.parse(settings.issuer);
  if (url === null) throw new ConnectError("CC_LOGIN_FAILED", "The issuer's address cannot be read");
  const insecure = url.protocol === "http:";
  if (insecure && !isLoopback(url)) {
    throw new ConnectError("CC_LOGIN_FAILED", `The issuer ${url.origin} has no TLS`, {
      hint: "Sign in at an https issuer; http works on this machine only.",
    });
  }
  const witness = watchClock(deps);
  const skew = (): ClockSkew =>
    witness.skew !== undefined && isOff(witness.skew) ? witness.skew : { host: url.host, aheadMs: 0 };
  const metadata = {
    // Read once the issuer's first answer has told its time.
    get [clockSkew]() {
      return Math.round(-skew().aheadMs / 1_000);
    },
  };
  const run = async (auth: ClientAuth): Promise<Configuration> =>
    await discovery(url, settings.clientId, metadata, auth, {
      timeout: TIMEOUT_SECONDS,
      // Aborting the command aborts each request; the library adds its own time limit.
      [customFetch]: async (address, init) =>
        await withStandardNames(
          await witness.fetch(address, {
            ...init,
            body: init.body ?? null,
            signal: init.signal === undefined ? options.signal : AbortSignal.any([options.signal, init.signal]),
          }),
        ),
      ...(insecure ? { execute: [allowInsecureRequests] } : {}),
    });
  try {
    const secret = options.secret ?? settings.clientSecret;
    if (secret === undefined) return { configuration: await run(None()), skew: skew() };
    const configuration = await run(ClientSecretBasic(secret));
    const methods = configuration.serverMetadata().token_endpoint_auth_methods_supported ?? ["client_secret_basic"];
    const byHeader = methods.includes("client_secret_basic");
    return { configuration: byHeader ? configuration : await run(ClientSecretPost(secret)), skew: skew() };
  } catch (error) {
    options.signal.throwIfAborted();
    throw issuerError(settings.issuer, error);
  }
}

/** How the token request names the audience; the scope form is Entra's. */
export function audienceParameters(settings: LoginSettings, audience: string): URLSearchParams {
  switch (settings.resourceParameter) {
    case "resource":
      return new URLSearchParams({ resource: audience });
    case "audience":
      return new URLSearchParams({ audience });
    case "scope":
      return new URLSearchParams({ scope: [scopeOf(audience), ...settings.scopes].join(" ") });
  }
}

/**
 * The parameters of the first request: consent for all audiences where the issuer takes several at once.
 *
 * @param clusters that are named at the login, where each has an audience of its own.
 */
export function signInParameters(settings: LoginSettings, clusters: readonly ClusterId[]): URLSearchParams {
  const parameters = audienceParameters(settings, settings.audiences.relay);
  if (settings.resourceParameter !== "scope") parameters.set("scope", settings.scopes.join(" "));
  if (settings.resourceParameter === "resource") {
    for (const audience of clusterAudiences(settings.audiences, clusters)) parameters.append("resource", audience);
  }
  return parameters;
}

/**
 * The token of an answer that is meant for an audience. It is the ID token where the audience is the client itself, as
 * with issuers that know no other audiences. Else it is the access token.
 *
 * @param time of this machine's clock, and how far that is ahead of the issuer's.
 * @throws ConnectError `CC_LOGIN_FAILED` for a token that relay and cluster would refuse: one that is no JWT, or one for
 *   somebody else.
 */
export function tokenOf(
  answer: TokenEndpointResponse,
  settings: LoginSettings,
  audience: string,
  { now, aheadMs = 0 }: { readonly now: number; readonly aheadMs?: number },
): KeptToken {
  const ownAudience = audience === settings.clientId && answer.id_token !== undefined;
  const token = ownAudience ? (answer.id_token ?? "") : answer.access_token;
  requireReadable(token, settings, audience);
  const lifeMs = answer.expires_in === undefined || ownAudience ? undefined : answer.expires_in * 1_000;
  const statedMs = expiryOf(token)?.getTime();
  const endMs = statedMs === undefined ? now + ASSUMED_LIFE_MS : statedMs + aheadMs;
  const expiresAt = new Date(lifeMs === undefined ? endMs : now + knownLifeMs(lifeMs));
  return { token, expiresAt, obtainedAt: new Date(now) };
}

const ANSWER_MS = 2_000;
const ANSWER_SHARE = 10;

/**
 * The rest of a token's life, for certain. The issuer counts it from before its answer came here, and in whole
 * seconds: a token that is sent at its very end is refused as expired.
 */
function knownLifeMs(lifeMs: number): number {
  return lifeMs - Math.min(ANSWER_MS, lifeMs / ANSWER_SHARE);
}

const SIGNED_PARTS = 3;
const ENCRYPTED_PARTS = 5;

/** Says at the sign-in what each later command would be refused for, with what to change at the issuer. */
function requireReadable(token: string, settings: LoginSettings, audience: string): void {
  const host = URL.parse(settings.issuer)?.host ?? "the issuer";
  const parts = token.split(".").length;
  const { aud } = unverifiedClaims(token);
  if (parts !== SIGNED_PARTS || aud === undefined) {
    const form =
      parts === ENCRYPTED_PARTS ? "encrypted" : parts === SIGNED_PARTS ? "without an audience (aud)" : "opaque";
    throw new ConnectError("CC_LOGIN_FAILED", `${host} gives tokens for ${shellWord(audience)} that are ${form}`, {
      hint: `Relay and cluster verify signed JWTs: at the issuer, register ${shellWord(audience)} as an API or resource, and choose JWT as the client's type of access tokens.`,
    });
  }
  // Entra names an application by its id in the token and by its address in the scope.
  if (settings.resourceParameter === "scope") return;
  const audiences: readonly unknown[] = Array.isArray(aud) ? aud : [aud];
  if (audiences.includes(audience)) return;
  const found = audiences.filter((one) => typeof one === "string").map(shellWord);
  throw new ConnectError(
    "CC_LOGIN_FAILED",
    `${host} gave a token for ${found.join(", ")} in place of ${shellWord(audience)}`,
    {
      hint: `At the issuer, let the client have tokens for ${shellWord(audience)}; it was asked by the parameter "${settings.resourceParameter}" (--resource-parameter).`,
    },
  );
}

function scopeOf(audience: string): string {
  return audience.endsWith("/.default") ? audience : `${audience}/.default`;
}
