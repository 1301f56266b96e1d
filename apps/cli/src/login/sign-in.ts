import type { LoginSettings } from "@cluster-connect/api";
import { ConnectError } from "@cluster-connect/protocol";
import { type Configuration, refreshTokenGrant, type TokenEndpointResponse } from "openid-client";
import { clusterAudiences } from "../tokens/audiences.ts";
import type { KeptToken, LoginRecord } from "../tokens/login/login-record.ts";
import { issuerError } from "./issuer-error.ts";
import { nameOf } from "./name-of.ts";
import { audienceParameters, type OidcDeps, type SignInOptions, tokenOf } from "./oidc.ts";

/** The issuer's first answer, and the way to ask it for more. */
export interface StartedSignIn {
  readonly first: TokenEndpointResponse;
  readonly configuration: Configuration;
  /** How far this machine's clock is ahead of the issuer's. */
  readonly aheadMs: number;
}

/**
 * Makes a login of the first answer of a sign-in. The relay's token came with it. The clusters' are got with the refresh
 * token, so that the person signs in once.
 *
 * @throws ConnectError `CC_LOGIN_FAILED` when the issuer does not give all of them.
 */
export async function completeSignIn(
  relay: string,
  settings: LoginSettings,
  started: StartedSignIn,
  options: SignInOptions,
  deps: OidcDeps,
): Promise<LoginRecord> {
  const { first, aheadMs } = started;
  const { audiences } = settings;
  const relayToken = tokenOf(first, settings, audiences.relay, { now: deps.now(), aheadMs });
  let record: LoginRecord = {
    relay,
    settings,
    name: nameOf([first.id_token, first.access_token]),
    refreshToken: first.refresh_token,
    tokens: { [audiences.relay]: relayToken },
  };
  for (const audience of clusterAudiences(audiences, options.clusters)) {
    record = await withClusterToken(record, audience, started, options, deps);
  }
  return record;
}

async function withClusterToken(
  record: LoginRecord,
  audience: string,
  { first, configuration, aheadMs }: StartedSignIn,
  options: SignInOptions,
  deps: OidcDeps,
): Promise<LoginRecord> {
  const { settings, refreshToken } = record;
  // One answer serves both where the clusters' audience is the client itself (the ID token).
  if (audience === settings.clientId && first.id_token !== undefined) {
    return withToken(record, audience, tokenOf(first, settings, audience, { now: deps.now(), aheadMs }));
  }
  if (refreshToken === undefined) {
    throw new ConnectError("CC_LOGIN_FAILED", `${settings.issuer} gave no refresh token`, {
      hint: "Let the client have refresh tokens (scope offline_access): relay and cluster need a token each.",
    });
  }
  try {
    const answer = await refreshTokenGrant(configuration, refreshToken, audienceParameters(settings, audience));
    const renewed = { ...record, refreshToken: answer.refresh_token ?? refreshToken };
    return withToken(renewed, audience, tokenOf(answer, settings, audience, { now: deps.now(), aheadMs }));
  } catch (error) {
    options.signal.throwIfAborted();
    throw issuerError(settings.issuer, error);
  }
}

function withToken(record: LoginRecord, audience: string, token: KeptToken): LoginRecord {
  return { ...record, tokens: { ...record.tokens, [audience]: token } };
}
