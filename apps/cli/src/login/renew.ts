import { ConnectError } from "@cluster-connect/protocol";
import { clientCredentialsGrant, refreshTokenGrant, type TokenEndpointResponse } from "openid-client";
import type { CliDeps } from "../deps.ts";
import type { Purpose } from "../tokens/caller-tokens.ts";
import type { LoginRecord } from "../tokens/login-record.ts";
import { issuerError } from "./issuer-error.ts";
import { audienceParameters, discoverIssuer, type OidcDeps, tokenOf } from "./oidc.ts";

/**
 * A token for one audience from a login's refresh token.
 *
 * @throws ConnectError `CC_NOT_LOGGED_IN` when the login itself ran out, `CC_ISSUER_UNREACHABLE`, `CC_LOGIN_FAILED`.
 */
export async function renewLogin(
  record: LoginRecord,
  purpose: Purpose,
  options: { readonly signal: AbortSignal },
  deps: OidcDeps & Pick<CliDeps, "env">,
): Promise<LoginRecord> {
  if (record.entra !== undefined) return await renewAtEntra(record, purpose, options, deps);
  const { settings, refreshToken, relay } = record;
  if (refreshToken === undefined) throw ranOut(relay, "it has ended and cannot be renewed");
  const configuration = await discoverIssuer(settings, options, deps);
  const audience = settings.audiences[purpose];
  let answer: TokenEndpointResponse;
  try {
    answer = await refreshTokenGrant(configuration, refreshToken, audienceParameters(settings, audience));
  } catch (error) {
    options.signal.throwIfAborted();
    const found = issuerError(settings.issuer, error, "CC_NOT_LOGGED_IN");
    throw found.code === "CC_NOT_LOGGED_IN" ? ranOut(relay, found.message, found) : found;
  }
  return {
    ...record,
    refreshToken: answer.refresh_token ?? refreshToken,
    tokens: { ...record.tokens, [audience]: tokenOf(answer, settings, audience, deps.now()) },
  };
}

/**
 * A token for one audience for a machine's client.
 *
 * @throws ConnectError `CC_ISSUER_UNREACHABLE` or `CC_LOGIN_FAILED`.
 */
export async function renewClient(
  record: LoginRecord,
  purpose: Purpose,
  options: { readonly signal: AbortSignal; readonly secret: string },
  deps: OidcDeps,
): Promise<LoginRecord> {
  const { settings } = record;
  const configuration = await discoverIssuer(settings, options, deps);
  const audience = settings.audiences[purpose];
  const parameters = audienceParameters({ ...settings, scopes: [] }, audience);
  try {
    const answer = await clientCredentialsGrant(configuration, parameters);
    return { ...record, tokens: { ...record.tokens, [audience]: tokenOf(answer, settings, audience, deps.now()) } };
  } catch (error) {
    options.signal.throwIfAborted();
    throw issuerError(settings.issuer, error);
  }
}

/** Entra's library is large: it is loaded only here, when a token is really due. */
async function renewAtEntra(
  record: LoginRecord,
  purpose: Purpose,
  options: { readonly signal: AbortSignal },
  deps: OidcDeps & Pick<CliDeps, "env">,
): Promise<LoginRecord> {
  const { renewEntra } = await import("./entra.ts");
  try {
    return await renewEntra(record, purpose, options, deps);
  } catch (error) {
    if (!(error instanceof ConnectError) || error.code !== "CC_NOT_LOGGED_IN") throw error;
    throw ranOut(record.relay, error.message, error);
  }
}

function ranOut(relay: string, reason: string, cause?: Error): ConnectError {
  return new ConnectError("CC_NOT_LOGGED_IN", `Your login at ${relay} ran out: ${reason}`, {
    hint: `Run \`cluster-connect login --relay ${relay}\`, then repeat the command.`,
    cause,
  });
}
