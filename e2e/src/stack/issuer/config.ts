import { z } from "zod";

/** How the issuer signs; its keys are of this kind. */
export const SIGNING_ALGORITHM = "ES256";

/** A person who can sign in; there is no password, the login page asks for a name. */
export interface IssuerUser {
  readonly name: string;
  readonly email: string;
  readonly groups: readonly string[];
}

/** An OAuth client that the issuer knows. */
export interface IssuerClient {
  readonly id: string;
  /** Makes it a confidential client, for client credentials only. */
  readonly secret?: string | undefined;
  /** Of a public client: authorization code with PKCE, device code, refresh. Any port counts as the same. */
  readonly redirectUris?: readonly string[] | undefined;
}

/** Everything the issuer's process is told, in one file. */
export interface IssuerConfig {
  /** 0 chooses a free one. */
  readonly port: number;
  /** Another address than loopback, and TLS. */
  readonly secure?: { readonly host: string; readonly certPem: string; readonly keyPem: string } | undefined;
  /** Private signing keys as a JWK set. */
  readonly jwks: {
    readonly keys: readonly { readonly kty: string; readonly kid: string; readonly alg: typeof SIGNING_ALGORITHM }[];
  };
  readonly users: readonly IssuerUser[];
  readonly clients: readonly IssuerClient[];
  /** Audiences that tokens can have: each is an RFC 8707 `resource`, too. */
  readonly audiences: readonly string[];
  readonly accessTokenSeconds: number;
  /** Secret for the issuer's own cookies. */
  readonly cookieKey: string;
}

const name: z.ZodString = z.string().min(1);

const user: z.ZodType<IssuerUser> = z.strictObject({ name, email: z.string().min(3), groups: z.array(z.string()) });

const client: z.ZodType<IssuerClient> = z.strictObject({
  id: name,
  secret: name.optional(),
  redirectUris: z.array(z.string()).optional(),
});

const issuerConfig: z.ZodType<IssuerConfig> = z.strictObject({
  port: z.int().min(0).max(65_535),
  secure: z.strictObject({ host: name, certPem: name, keyPem: name }).optional(),
  jwks: z.looseObject({
    keys: z.array(z.looseObject({ kty: name, kid: name, alg: z.literal(SIGNING_ALGORITHM) })).min(1),
  }),
  users: z.array(user).min(1),
  clients: z.array(client).min(1),
  audiences: z.array(name).min(1),
  accessTokenSeconds: z.int().min(1),
  cookieKey: z.string().min(16),
});

/**
 * Reads the file that the issuer's process is given.
 *
 * @throws ZodError that lists every problem.
 */
export function parseIssuerConfig(text: string): IssuerConfig {
  return issuerConfig.parse(JSON.parse(text));
}
