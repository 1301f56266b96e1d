import { tokenRevocation } from "openid-client";
import type { LoginRecord } from "../tokens/login/login-record.ts";
import { discoverIssuer, type OidcDeps } from "./oidc.ts";

/** Takes a refresh token back at its issuer; false when that did not work. Nothing to do counts as done. */
export async function revokeLogin(
  record: LoginRecord,
  refreshToken: string,
  options: { readonly signal: AbortSignal },
  deps: OidcDeps,
): Promise<boolean> {
  try {
    const { configuration } = await discoverIssuer(record.settings, options, deps);
    if (configuration.serverMetadata().revocation_endpoint === undefined) return true;
    await tokenRevocation(configuration, refreshToken, { token_type_hint: "refresh_token" });
    return true;
  } catch {
    options.signal.throwIfAborted();
    return false;
  }
}
