/** Which application signs in, at which authority. */
export interface EntraClient {
  /** Origin of the authority, such as `https://login.microsoftonline.com`. */
  readonly authorityHost: string;
  readonly tenantId: string;
  readonly clientId: string;
}

/** How an application without a person proves its identity. */
export type EntraMachine =
  | { readonly kind: "secret"; readonly secret: string }
  /** PEM with certificate and key. */
  | { readonly kind: "certificate"; readonly path: string }
  /** A file that another program renews, as Kubernetes does with projected tokens: workload identity. */
  | { readonly kind: "federatedTokenFile"; readonly path: string }
  /** Another issuer's token, got anew each time. */
  | { readonly kind: "assertion"; readonly assertion: () => Promise<string> }
  /** The identity that Azure gives this machine or pod; without a client id, the one that the system assigned. */
  | { readonly kind: "managedIdentity"; readonly clientId: string | undefined }
  /** The account that is signed in to `az` on this machine. */
  | { readonly kind: "azureCli" };

/** A person's sign-in, as it is kept between two processes. Secret: it holds a refresh token. */
export interface EntraAccount {
  /** Which account of the cache is meant. */
  readonly account: string;
  /** The library's own cache, without access tokens. */
  readonly cache: string;
}

/** An access token of Entra. */
export interface EntraToken {
  readonly token: string;
  readonly expiresAt: Date;
}

/** The scope that an application asks for to get a token for an audience. */
export function entraScope(audience: string): string {
  return audience.endsWith("/.default") ? audience : `${audience}/.default`;
}
