import { createHash, randomUUID, X509Certificate } from "node:crypto";
import { compactVerify, createLocalJWKSet, decodeJwt, type JSONWebKeySet } from "jose";
import type { FakeEntraTokens } from "./fake-entra-tokens.ts";

/** An application that the fake knows. */
export interface FakeEntraApp {
  readonly clientId: string;
  readonly secret?: string;
  /** PEM; assertions signed with its key are taken. */
  readonly certificate?: string;
  /** Another issuer whose tokens are taken as assertions. */
  readonly federated?: { readonly issuer: string; readonly subject: string; readonly keys: () => JSONWebKeySet };
}

export interface GrantAnswer {
  readonly status: number;
  readonly body: unknown;
}

export interface FakeEntraGrants {
  readonly counts: Record<string, number>;
  /** The fields that the browser brings back after jane has agreed. */
  authorize(fields: URLSearchParams): URLSearchParams;
  startDevice(fields: URLSearchParams, url: string): GrantAnswer;
  enterDeviceCode(code: string): boolean;
  token(fields: URLSearchParams): Promise<GrantAnswer>;
  revoke(): void;
}

interface Begun {
  readonly fields: URLSearchParams;
  agreed: boolean;
}

const EXCHANGE_AUDIENCE = "api://AzureADTokenExchange";

export function createFakeEntraGrants(
  tokens: FakeEntraTokens,
  options: { readonly apps: readonly FakeEntraApp[]; readonly tokenEndpoint: string },
): FakeEntraGrants {
  const counts: Record<string, number> = {};
  const codes = new Map<string, Begun>();
  const devices = new Map<string, Begun & { readonly userCode: string }>();
  const refreshTokens = new Set<string>();
  const find = (fields: URLSearchParams): FakeEntraApp | undefined =>
    options.apps.find(({ clientId }) => clientId === fields.get("client_id"));

  async function person(fields: URLSearchParams, nonce: string | undefined): Promise<GrantAnswer> {
    const clientId = fields.get("client_id") ?? "";
    const scopes = (fields.get("scope") ?? "").split(" ");
    const scope = scopes.find((name) => name.endsWith("/.default"));
    if (scope === undefined) return refusedGrant("invalid_scope", "AADSTS70011: The scope is not valid.");
    const refreshToken = `fake-refresh-${randomUUID()}`;
    refreshTokens.add(refreshToken);
    return given(fields, {
      ...(await accessOf(scope, clientId, true)),
      refresh_token: refreshToken,
      id_token: await tokens.identity(clientId, nonce),
      client_info: tokens.clientInfo,
    });
  }

  async function accessOf(scope: string, clientId: string, isPerson: boolean): Promise<Record<string, unknown>> {
    const audience = scope.replace(/\/\.default$/, "");
    const token = await tokens.access(audience, { clientId, person: isPerson });
    return {
      token_type: "Bearer",
      scope,
      expires_in: tokens.seconds,
      ext_expires_in: tokens.seconds,
      access_token: token,
    };
  }

  function given(fields: URLSearchParams, body: Readonly<Record<string, unknown>>): GrantAnswer {
    const type = fields.get("grant_type") ?? "";
    counts[type] = (counts[type] ?? 0) + 1;
    return { status: 200, body };
  }

  async function byCode(fields: URLSearchParams): Promise<GrantAnswer> {
    const begun = codes.get(fields.get("code") ?? "");
    codes.delete(fields.get("code") ?? "");
    const challenge = createHash("sha256")
      .update(fields.get("code_verifier") ?? "")
      .digest("base64url");
    const fits = begun !== undefined && challenge === begun.fields.get("code_challenge");
    if (!fits || begun.fields.get("redirect_uri") !== fields.get("redirect_uri")) {
      return refusedGrant("invalid_grant", "AADSTS501481: The code verifier does not match.");
    }
    return await person(fields, begun.fields.get("nonce") ?? undefined);
  }

  async function byDevice(fields: URLSearchParams): Promise<GrantAnswer> {
    const begun = devices.get(fields.get("device_code") ?? "");
    if (begun === undefined) return refusedGrant("invalid_grant", "AADSTS70019: The code has expired.");
    if (!begun.agreed) return refusedGrant("authorization_pending", "AADSTS70016: Waiting for the person.");
    devices.delete(fields.get("device_code") ?? "");
    if (!fields.has("scope")) fields.set("scope", begun.fields.get("scope") ?? "");
    return await person(fields, undefined);
  }

  async function byClient(fields: URLSearchParams): Promise<GrantAnswer> {
    const app = find(fields);
    if (app === undefined) return refusedGrant("unauthorized_client", "AADSTS700016: The application was not found.");
    const proven = fields.has("client_assertion")
      ? await isAssertion(app, fields.get("client_assertion") ?? "", options.tokenEndpoint)
      : app.secret !== undefined && fields.get("client_secret") === app.secret;
    if (!proven)
      return refusedGrant("invalid_client", "AADSTS7000215: Invalid client secret or assertion.\r\nTrace ID: 1", 401);
    return given(fields, await accessOf(fields.get("scope") ?? "", app.clientId, false));
  }

  return {
    counts,
    authorize(fields) {
      const code = `fake-code-${randomUUID()}`;
      codes.set(code, { fields, agreed: true });
      return new URLSearchParams({ code, state: fields.get("state") ?? "", client_info: tokens.clientInfo });
    },
    startDevice(fields, url) {
      if (find(fields) === undefined)
        return refusedGrant("unauthorized_client", "AADSTS700016: The application was not found.");
      const deviceCode = `fake-device-${randomUUID()}`;
      const userCode = randomUUID().slice(0, 8).toUpperCase();
      devices.set(deviceCode, { fields, agreed: false, userCode });
      const body = {
        device_code: deviceCode,
        user_code: userCode,
        verification_uri: url,
        expires_in: 900,
        interval: 1,
      };
      return { status: 200, body: { ...body, message: `Open ${url} and enter ${userCode}` } };
    },
    enterDeviceCode(code) {
      const found = [...devices.values()].find(({ userCode }) => userCode === code);
      if (found !== undefined) found.agreed = true;
      return found !== undefined;
    },
    async token(fields) {
      switch (fields.get("grant_type")) {
        case "authorization_code":
          return await byCode(fields);
        case "urn:ietf:params:oauth:grant-type:device_code":
        case "device_code":
          return await byDevice(fields);
        case "refresh_token":
          return refreshTokens.has(fields.get("refresh_token") ?? "")
            ? await person(fields, undefined)
            : refusedGrant("invalid_grant", "AADSTS70043: The refresh token has expired.\r\nTrace ID: 2");
        case "client_credentials":
          return await byClient(fields);
        default:
          return refusedGrant("unsupported_grant_type", "AADSTS70003: The grant type is not supported.");
      }
    },
    revoke: () => refreshTokens.clear(),
  };
}

function refusedGrant(error: string, description: string, status = 400): GrantAnswer {
  return { status, body: { error, error_description: description, error_codes: [], suberror: "" } };
}

/** An assertion signed with the application's certificate, or a token of the issuer it is federated with. */
async function isAssertion(app: FakeEntraApp, assertion: string, tokenEndpoint: string): Promise<boolean> {
  try {
    const claims = decodeJwt(assertion);
    const now = Date.now() / 1_000;
    if ((claims.exp ?? 0) < now) return false;
    if (app.federated !== undefined && claims.iss === app.federated.issuer) {
      await compactVerify(assertion, createLocalJWKSet(app.federated.keys()));
      return claims.sub === app.federated.subject && claims.aud === EXCHANGE_AUDIENCE;
    }
    if (app.certificate === undefined) return false;
    await compactVerify(assertion, new X509Certificate(app.certificate).publicKey);
    return claims.iss === app.clientId && claims.sub === app.clientId && claims.aud === tokenEndpoint;
  } catch {
    return false;
  }
}
