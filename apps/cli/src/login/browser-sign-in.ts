import type { LoginSettings } from "@cluster-connect/api";
import { ConnectError } from "@cluster-connect/protocol";
import {
  authorizationCodeGrant,
  buildAuthorizationUrl,
  type Configuration,
  calculatePKCECodeChallenge,
  randomNonce,
  randomPKCECodeVerifier,
  randomState,
  type TokenEndpointResponse,
} from "openid-client";
import { listenForCallback } from "./callback.ts";
import { issuerError } from "./issuer-error.ts";
import { audienceParameters, type SignInOptions, signInParameters } from "./oidc.ts";

const TIMEOUT_MS = 300_000;

/** How far a sign-in in the browser got, for the screen. */
export type ShowAddress = (url: string) => Promise<void>;

/**
 * Signs a person in by authorization code with PKCE; the browser comes back to a port of this machine.
 *
 * @param show opens the address, or prints it.
 * @throws ConnectError `CC_LOGIN_FAILED`, `CC_ISSUER_UNREACHABLE`, or `CC_TIMEOUT` after five minutes.
 */
export async function signInByBrowser(
  configuration: Configuration,
  settings: LoginSettings,
  options: SignInOptions & { readonly onRefusal?: (text: string) => void },
  show: ShowAddress,
): Promise<TokenEndpointResponse> {
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(TIMEOUT_MS)]);
  const state = randomState();
  const nonce = randomNonce();
  const verifier = randomPKCECodeVerifier();
  const openId = settings.scopes.includes("openid");
  const callback = await listenForCallback(state, {
    signal,
    host: settings.resourceParameter === "scope" ? "localhost" : "127.0.0.1",
    ...(options.onRefusal === undefined ? {} : { onRefusal: options.onRefusal }),
  });
  try {
    const parameters = signInParameters(settings, options.clusters);
    parameters.set("redirect_uri", callback.redirectUri);
    parameters.set("state", state);
    parameters.set("code_challenge", await calculatePKCECodeChallenge(verifier));
    parameters.set("code_challenge_method", "S256");
    if (openId) parameters.set("nonce", nonce);
    await show(buildAuthorizationUrl(configuration, parameters).href);
    const answer = await authorizationCodeGrant(
      configuration,
      await callback.answered,
      { pkceCodeVerifier: verifier, expectedState: state, ...(openId ? { expectedNonce: nonce } : {}) },
      audienceParameters(settings, settings.audiences.relay),
    );
    await callback.finish(undefined);
    return answer;
  } catch (error) {
    options.signal.throwIfAborted();
    const found = signal.aborted
      ? new ConnectError("CC_TIMEOUT", "Nobody signed in within five minutes", {
          hint: "Run `cluster-connect login` again; --device-code works with a browser on another machine.",
        })
      : issuerError(settings.issuer, error);
    await callback.finish(found);
    throw found;
  }
}
