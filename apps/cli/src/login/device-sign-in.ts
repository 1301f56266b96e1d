import type { LoginSettings } from "@cluster-connect/api";
import { raceAbort } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import {
  type Configuration,
  initiateDeviceAuthorization,
  pollDeviceAuthorizationGrant,
  type TokenEndpointResponse,
} from "openid-client";
import { issuerError } from "./issuer-error.ts";
import { audienceParameters, type SignInOptions, signInParameters } from "./oidc.ts";

/** The code that a person types on any device with a browser. */
export interface DeviceCode {
  readonly url: string;
  /** The same with the code filled in, where the issuer offers it. */
  readonly completeUrl: string | undefined;
  readonly code: string;
  readonly expiresInSeconds: number;
}

/**
 * Signs a person in by device code, for machines without a browser.
 *
 * @throws ConnectError `CC_LOGIN_FAILED`, also when the issuer knows no device codes; `CC_ISSUER_UNREACHABLE`.
 */
export async function signInByDevice(
  configuration: Configuration,
  settings: LoginSettings,
  options: SignInOptions,
  show: (code: DeviceCode) => void,
): Promise<TokenEndpointResponse> {
  if (configuration.serverMetadata().device_authorization_endpoint === undefined) {
    throw new ConnectError("CC_LOGIN_FAILED", `${settings.issuer} offers no device codes`, {
      hint: "Run `cluster-connect login` without --device-code.",
    });
  }
  try {
    const started = await initiateDeviceAuthorization(configuration, signInParameters(settings, options.clusters));
    show({
      url: started.verification_uri,
      completeUrl: started.verification_uri_complete,
      code: started.user_code,
      expiresInSeconds: started.expires_in,
    });
    const answered = pollDeviceAuthorizationGrant(
      configuration,
      started,
      audienceParameters(settings, settings.audiences.relay),
      { signal: options.signal },
    );
    // The library looks at the signal only between two questions, which are seconds apart.
    return await raceAbort(answered, options.signal);
  } catch (error) {
    options.signal.throwIfAborted();
    throw issuerError(settings.issuer, error);
  }
}
