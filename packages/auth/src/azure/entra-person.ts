import {
  type AuthenticationRecord,
  DeviceCodeCredential,
  deserializeAuthenticationRecord,
  InteractiveBrowserCredential,
  serializeAuthenticationRecord,
} from "@azure/identity";
import { raceAbort } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import { authorityOptions, toEntraToken } from "./entra-authority.ts";
import { type EntraCache, useEntraCache } from "./entra-cache.ts";
import { type EntraAccount, type EntraClient, type EntraToken, entraScope } from "./entra-client.ts";
import { entraError } from "./entra-error.ts";
import { type EntraDeps, watchTraffic } from "./entra-traffic.ts";

/** The code that a person types on any device with a browser. */
export interface EntraDeviceCode {
  readonly url: string;
  readonly code: string;
}

/** How a person signs in. */
export type EntraSignIn =
  /** The library opens the browser of this machine. */
  { readonly kind: "browser" } | { readonly kind: "deviceCode"; readonly show: (code: EntraDeviceCode) => void };

export interface SignedInAtEntra {
  readonly token: EntraToken;
  readonly account: EntraAccount;
}

/**
 * Signs a person in for one audience; {@link renewEntraPerson} gets tokens for others without asking again.
 *
 * @throws ConnectError `CC_LOGIN_FAILED`, `CC_ISSUER_UNREACHABLE` or what `unreachable` makes.
 */
export async function signInAtEntra(
  client: EntraClient,
  how: EntraSignIn,
  audience: string,
  options: { readonly signal: AbortSignal },
  deps: EntraDeps,
): Promise<SignedInAtEntra> {
  const traffic = watchTraffic(options);
  const cache = useEntraCache("");
  const base = { ...authorityOptions(client), ...traffic.options, tokenCachePersistenceOptions: cache.options };
  const scope = entraScope(audience);
  try {
    const credential =
      how.kind === "browser"
        ? new InteractiveBrowserCredential({ ...base, clientId: client.clientId, disableAutomaticAuthentication: true })
        : new DeviceCodeCredential({
            ...base,
            clientId: client.clientId,
            disableAutomaticAuthentication: true,
            userPromptCallback: ({ userCode, verificationUri }) => how.show({ url: verificationUri, code: userCode }),
          });
    const abort = { abortSignal: options.signal };
    const record = await raceAbort(credential.authenticate(scope, abort), options.signal);
    if (record === undefined) throw new ConnectError("CC_LOGIN_FAILED", "Entra did not say who signed in");
    const token = await raceAbort(credential.getToken(scope, abort), options.signal);
    return { token: toEntraToken(token), account: accountOf(record, cache) };
  } catch (error) {
    throw entraError(error, traffic.answer, { ...options, renewal: false }, deps);
  }
}

/**
 * Gets a token for any audience from a kept sign-in, without a person.
 *
 * @returns also the account as it is to be kept now: a refresh token may be replaced each time.
 * @throws ConnectError `CC_NOT_LOGGED_IN` when only the person can go on, else as {@link signInAtEntra}.
 */
export async function renewEntraPerson(
  client: EntraClient,
  kept: EntraAccount,
  audience: string,
  options: { readonly signal: AbortSignal },
  deps: EntraDeps,
): Promise<SignedInAtEntra> {
  const traffic = watchTraffic(options);
  const cache = useEntraCache(kept.cache);
  try {
    const record = deserializeAuthenticationRecord(kept.account);
    // Whichever way the person signed in, the refresh token is used the same way.
    const credential = new DeviceCodeCredential({
      ...authorityOptions(client),
      ...traffic.options,
      clientId: client.clientId,
      tokenCachePersistenceOptions: cache.options,
      authenticationRecord: record,
      disableAutomaticAuthentication: true,
    });
    const token = await raceAbort(
      credential.getToken(entraScope(audience), { abortSignal: options.signal }),
      options.signal,
    );
    return { token: toEntraToken(token), account: accountOf(record, cache) };
  } catch (error) {
    throw entraError(error, traffic.answer, { ...options, renewal: true }, deps);
  }
}

function accountOf(record: AuthenticationRecord, cache: EntraCache): EntraAccount {
  return { account: serializeAuthenticationRecord(record), cache: cache.text };
}
