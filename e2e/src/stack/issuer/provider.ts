import Provider, { type ClientMetadata, type Configuration, errors, type JWKS } from "oidc-provider";
import { type IssuerClient, type IssuerConfig, SIGNING_ALGORITHM } from "./config.ts";
import { loginPath } from "./login-page.ts";

const OIDC_SCOPES = "openid email profile groups offline_access";
const RESOURCE_SCOPE = "use";
const SESSION_SECONDS = 24 * 3_600;
const SHORT_SECONDS = 600;

function clientMetadata(client: IssuerClient): ClientMetadata {
  if (client.secret !== undefined) {
    return {
      client_id: client.id,
      client_secret: client.secret,
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
    };
  }
  return {
    client_id: client.id,
    application_type: "native",
    token_endpoint_auth_method: "none",
    grant_types: ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
    response_types: ["code"],
    redirect_uris: client.redirectUris ?? [],
  };
}

/** Claims of a user, in access tokens and ID tokens alike. */
function claimsOf(config: IssuerConfig, name: string): Record<string, unknown> {
  const user = config.users.find((candidate) => candidate.name === name);
  if (user === undefined) return {};
  return { preferred_username: user.name, email: user.email, email_verified: true, groups: user.groups };
}

function features(config: IssuerConfig): NonNullable<Configuration["features"]> {
  return {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: (_ctx, _client, oneOf) => (Array.isArray(oneOf) ? oneOf[0] : oneOf) ?? config.audiences[0] ?? "",
      useGrantedResource: () => true,
      getResourceServerInfo: (_ctx, resource) => {
        if (!config.audiences.includes(resource)) throw new errors.InvalidTarget();
        return {
          scope: `${RESOURCE_SCOPE} ${OIDC_SCOPES}`,
          audience: resource,
          accessTokenFormat: "jwt",
          accessTokenTTL: config.accessTokenSeconds,
          jwt: { sign: { alg: SIGNING_ALGORITHM } },
        } as const;
      },
    },
  };
}

/** Makes the provider; every user who signs in has consented to everything. */
export function createProvider(url: string, config: IssuerConfig): Provider {
  const configuration: Configuration = {
    jwks: config.jwks as JWKS, // checked by the provider itself
    clients: config.clients.map(clientMetadata),
    clientDefaults: { id_token_signed_response_alg: SIGNING_ALGORITHM },
    enabledJWA: { idTokenSigningAlgValues: [SIGNING_ALGORITHM] },
    cookies: { keys: [config.cookieKey] },
    scopes: OIDC_SCOPES.split(" "),
    claims: {
      openid: ["sub"],
      email: ["email", "email_verified"],
      profile: ["preferred_username"],
      groups: ["groups"],
    },
    conformIdTokenClaims: false,
    features: features(config),
    findAccount: (_ctx, name) => ({ accountId: name, claims: async () => ({ sub: name, ...claimsOf(config, name) }) }),
    extraTokenClaims: (_ctx, token) => ("accountId" in token ? claimsOf(config, token.accountId) : {}),
    interactions: { url: (_ctx, interaction) => loginPath(interaction.uid) },
    issueRefreshToken: (_ctx, client) => client.grantTypeAllowed("refresh_token"),
    loadExistingGrant: async (ctx) => {
      const { client, session, provider } = ctx.oidc;
      if (client === undefined || session?.accountId === undefined) return undefined;
      const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
      grant.addOIDCScope(OIDC_SCOPES);
      for (const audience of config.audiences) grant.addResourceScope(audience, `${RESOURCE_SCOPE} ${OIDC_SCOPES}`);
      await grant.save();
      return grant;
    },
    ttl: {
      AccessToken: config.accessTokenSeconds,
      AuthorizationCode: SHORT_SECONDS,
      ClientCredentials: config.accessTokenSeconds,
      DeviceCode: SHORT_SECONDS,
      Grant: SESSION_SECONDS,
      IdToken: config.accessTokenSeconds,
      Interaction: SHORT_SECONDS,
      RefreshToken: SESSION_SECONDS,
      Session: SESSION_SECONDS,
    },
  };
  return new Provider(url, configuration);
}
