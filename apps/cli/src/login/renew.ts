import { ConnectError } from "@cluster-connect/protocol";
import {
  clientCredentialsGrant,
  ResponseBodyError,
  refreshTokenGrant,
  type TokenEndpointResponse,
} from "openid-client";
import type { CliDeps } from "../deps.ts";
import { shellWord } from "../terminal/shell-word.ts";
import { clusterOfAudience } from "../tokens/audiences.ts";
import type { LoginRecord } from "../tokens/login/login-record.ts";
import { issuerError } from "./issuer-error.ts";
import { audienceParameters, discoverIssuer, type OidcDeps, tokenOf } from "./oidc.ts";

/**
 * A token for one audience from a login's refresh token.
 *
 * @throws ConnectError `CC_NOT_LOGGED_IN` when the login itself ran out, `CC_ISSUER_UNREACHABLE`, `CC_LOGIN_FAILED`.
 */
export async function renewLogin(
  record: LoginRecord,
  audience: string,
  options: { readonly signal: AbortSignal },
  deps: OidcDeps & Pick<CliDeps, "env">,
): Promise<LoginRecord> {
  if (record.entra !== undefined) return await renewAtEntra(record, audience, options, deps);
  const { settings, refreshToken, relay } = record;
  if (refreshToken === undefined) throw ranOut(relay, "it has ended and cannot be renewed");
  const { configuration, skew } = await discoverIssuer(settings, options, deps);
  let answer: TokenEndpointResponse;
  try {
    answer = await refreshTokenGrant(configuration, refreshToken, audienceParameters(settings, audience));
  } catch (error) {
    options.signal.throwIfAborted();
    const found = issuerError(settings.issuer, error, "CC_NOT_LOGGED_IN");
    if (error instanceof ResponseBodyError && error.error === "invalid_target")
      throw notSignedInFor(record, audience, found);
    throw found.code === "CC_NOT_LOGGED_IN" ? ranOut(relay, found.message, found) : found;
  }
  return {
    ...record,
    refreshToken: answer.refresh_token ?? refreshToken,
    tokens: { ...record.tokens, [audience]: tokenOf(answer, settings, audience, { ...skew, now: deps.now() }) },
  };
}

/**
 * A token for one audience for a machine's client.
 *
 * @throws ConnectError `CC_ISSUER_UNREACHABLE` or `CC_LOGIN_FAILED`.
 */
export async function renewClient(
  record: LoginRecord,
  audience: string,
  options: { readonly signal: AbortSignal; readonly secret: string },
  deps: OidcDeps,
): Promise<LoginRecord> {
  const { settings } = record;
  const { configuration, skew } = await discoverIssuer(settings, options, deps);
  const parameters = audienceParameters({ ...settings, scopes: [] }, audience);
  try {
    const answer = await clientCredentialsGrant(configuration, parameters);
    return {
      ...record,
      tokens: { ...record.tokens, [audience]: tokenOf(answer, settings, audience, { ...skew, now: deps.now() }) },
    };
  } catch (error) {
    options.signal.throwIfAborted();
    throw issuerError(settings.issuer, error);
  }
}

/** Entra's library is large: it is loaded only here, when a token is really due. */
async function renewAtEntra(
  record: LoginRecord,
  audience: string,
  options: { readonly signal: AbortSignal },
  deps: OidcDeps & Pick<CliDeps, "env">,
): Promise<LoginRecord> {
  const { renewEntra } = await import("./entra.ts");
  try {
    return await renewEntra(record, audience, options, deps);
  } catch (error) {
    if (!(error instanceof ConnectError) || error.code !== "CC_NOT_LOGGED_IN") throw error;
    throw ranOut(record.relay, error.message, error);
  }
}

/** An issuer may give tokens only for clusters that were named at the sign-in: it says what to name. */
function notSignedInFor({ relay, settings, tokens }: LoginRecord, audience: string, found: ConnectError): ConnectError {
  const { cluster: template } = settings.audiences;
  const named = [...Object.keys(tokens), audience].map((one) => clusterOfAudience(template, one));
  const cluster = clusterOfAudience(template, audience);
  if (cluster === undefined) return found;
  const flags = [...new Set(named)].flatMap((one) => (one === undefined ? [] : ["-n", one])).join(" ");
  return new ConnectError("CC_NOT_LOGGED_IN", `Your login at ${relay} is not for ${cluster}: ${found.message}`, {
    hint: `Run \`cluster-connect login --relay ${relay} ${flags}\`, then repeat the command. If it is refused too: have the issuer allow ${shellWord(audience)}.`,
    cause: found,
  });
}

function ranOut(relay: string, reason: string, cause?: Error): ConnectError {
  return new ConnectError("CC_NOT_LOGGED_IN", `Your login at ${relay} ran out: ${reason}`, {
    hint: `Run \`cluster-connect login --relay ${relay}\`, then repeat the command.`,
    cause,
  });
}
