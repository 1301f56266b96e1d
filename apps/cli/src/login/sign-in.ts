import { ConnectError } from "@cluster-connect/protocol";
import { type Configuration, refreshTokenGrant, type TokenEndpointResponse } from "openid-client";
import type { LoginSettings } from "../relay-api.ts";
import type { KeptToken, LoginRecord } from "../tokens/login-record.ts";
import { issuerError } from "./issuer-error.ts";
import { nameOf } from "./name-of.ts";
import { audienceParameters, type OidcDeps, tokenOf } from "./oidc.ts";

/**
 * Makes a login of the first answer of a sign-in: the relay's token came with it, the clusters' is got with the
 * refresh token, so that the person signs in once.
 *
 * @throws ConnectError `CC_LOGIN_FAILED` when the issuer does not give both.
 */
export async function completeSignIn(
  relay: string,
  settings: LoginSettings,
  first: TokenEndpointResponse,
  configuration: Configuration,
  options: { readonly signal: AbortSignal },
  deps: OidcDeps,
): Promise<LoginRecord> {
  const { audiences } = settings;
  const relayToken = tokenOf(first, settings, audiences.relay, deps.now());
  const record: LoginRecord = {
    relay,
    settings,
    name: nameOf([first.id_token, first.access_token]),
    refreshToken: first.refresh_token,
    tokens: { [audiences.relay]: relayToken },
  };
  // One answer serves both where the audience is the same, or is the client itself (the ID token).
  if (audiences.cluster === audiences.relay) return record;
  if (audiences.cluster === settings.clientId && first.id_token !== undefined) {
    return withToken(record, audiences.cluster, tokenOf(first, settings, audiences.cluster, deps.now()));
  }
  if (first.refresh_token === undefined) {
    throw new ConnectError("CC_LOGIN_FAILED", `${settings.issuer} gave no refresh token`, {
      hint: "Let the client have refresh tokens (scope offline_access): relay and cluster need a token each.",
    });
  }
  let second: TokenEndpointResponse;
  try {
    second = await refreshTokenGrant(
      configuration,
      first.refresh_token,
      audienceParameters(settings, audiences.cluster),
    );
  } catch (error) {
    options.signal.throwIfAborted();
    throw issuerError(settings.issuer, error);
  }
  const renewed = { ...record, refreshToken: second.refresh_token ?? first.refresh_token };
  return withToken(renewed, audiences.cluster, tokenOf(second, settings, audiences.cluster, deps.now()));
}

function withToken(record: LoginRecord, audience: string, token: KeptToken): LoginRecord {
  return { ...record, tokens: { ...record.tokens, [audience]: token } };
}
