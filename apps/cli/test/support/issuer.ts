import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { LoginSettings } from "@cluster-connect/api";
import Provider, { errors } from "oidc-provider";
import { onTestFinished } from "vitest";

export const RELAY_AUDIENCE = "https://relay.test";
export const CLUSTER_AUDIENCE = "https://cluster.test";
const CLIENT_ID = "cli";
const SCOPES = "openid email offline_access";

export interface TestIssuer {
  readonly url: string;
  readonly settings: LoginSettings;
  /** How many times the token endpoint was asked, by grant type. */
  readonly grants: Readonly<Record<string, number>>;
  /** The handler of the next requests; undefined: the issuer itself. */
  answer: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined;
  /** Does what a person does in the browser, and returns the last page's address and text. */
  signIn(start: string): Promise<{ readonly url: string; readonly status: number; readonly text: string }>;
  stop(): Promise<void>;
}

export interface TestIssuerOptions {
  readonly accessTokenSeconds?: number;
  readonly deviceFlow?: boolean;
  readonly machineSecret?: string;
  /** In place of the one for all clusters. */
  readonly clusterAudiences?: readonly string[];
}

/** A real OpenID Connect provider that believes every caller is jane. */
export async function startIssuer(options: TestIssuerOptions = {}): Promise<TestIssuer> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${portOf(server)}`;
  const provider = createProvider(url, options);
  const callback = provider.callback();
  const grants: Record<string, number> = {};
  const issuer: TestIssuer = {
    url,
    grants,
    answer: undefined,
    settings: {
      issuer: url,
      clientId: CLIENT_ID,
      scopes: SCOPES.split(" "),
      audiences: { relay: RELAY_AUDIENCE, cluster: CLUSTER_AUDIENCE },
      resourceParameter: "resource",
    },
    signIn: (start) => signIn(start),
    async stop() {
      server.closeAllConnections();
      if (server.listening) server.close();
    },
  };
  provider.on("grant.success", ({ oidc }) => {
    const type = String(oidc.params?.["grant_type"]);
    grants[type] = (grants[type] ?? 0) + 1;
  });
  server.on("request", (request, response) => {
    if (issuer.answer?.(request, response) === true) return;
    void answer(provider, callback, request, response);
  });
  onTestFinished(() => issuer.stop());
  return issuer;
}

async function answer(
  provider: Provider,
  callback: (request: IncomingMessage, response: ServerResponse) => Promise<void>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (request.url?.startsWith("/interaction/") !== true) return await callback(request, response);
  const { prompt } = await provider.interactionDetails(request, response);
  const result = prompt.name === "login" ? { login: { accountId: "jane" } } : { consent: {} };
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: prompt.name !== "login" });
}

function createProvider(url: string, options: TestIssuerOptions): Provider {
  const seconds = options.accessTokenSeconds ?? 600;
  const audiences = [RELAY_AUDIENCE, ...(options.clusterAudiences ?? [CLUSTER_AUDIENCE])];
  return new Provider(url, {
    clients: [
      {
        client_id: CLIENT_ID,
        application_type: "native",
        token_endpoint_auth_method: "none",
        grant_types: ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
        response_types: ["code"],
        redirect_uris: ["http://127.0.0.1/callback"],
      },
      ...(options.machineSecret === undefined
        ? []
        : [
            {
              client_id: "machine",
              client_secret: options.machineSecret,
              grant_types: ["client_credentials"],
              redirect_uris: [],
              response_types: [] as const,
            },
          ]),
    ],
    cookies: { keys: ["a key for tests only"] },
    scopes: SCOPES.split(" "),
    claims: { openid: ["sub"], email: ["email"] },
    conformIdTokenClaims: false,
    findAccount: (_ctx, name) => ({
      accountId: name,
      claims: async () => ({ sub: name, email: `${name}@example.com` }),
    }),
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      deviceFlow: {
        enabled: options.deviceFlow ?? true,
        userCodeInputSource: (ctx, form) => {
          ctx.body = form;
        },
        userCodeConfirmSource: (ctx, form) => {
          ctx.body = form;
        },
      },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        useGrantedResource: () => true,
        defaultResource: (_ctx, _client, oneOf) => (Array.isArray(oneOf) ? (oneOf[0] ?? "") : RELAY_AUDIENCE),
        getResourceServerInfo: (_ctx, audience) => {
          if (!audiences.includes(audience)) throw new errors.InvalidTarget();
          return { scope: SCOPES, audience, accessTokenFormat: "jwt", accessTokenTTL: seconds };
        },
      },
    },
    issueRefreshToken: (_ctx, client) => client.grantTypeAllowed("refresh_token"),
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    loadExistingGrant: async (ctx) => {
      const { client, session, provider } = ctx.oidc;
      if (client === undefined || session?.accountId === undefined) return undefined;
      const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
      grant.addOIDCScope(SCOPES);
      for (const audience of audiences) grant.addResourceScope(audience, SCOPES);
      await grant.save();
      return grant;
    },
    ttl: { AccessToken: seconds, ClientCredentials: seconds, IdToken: seconds, RefreshToken: 3_600, Grant: 3_600 },
  });
}

/** Follows redirects with cookies and submits the forms of the device flow. */
async function signIn(start: string): Promise<{ url: string; status: number; text: string }> {
  const cookies = new Map<string, string>();
  let next: { readonly url: URL; readonly body?: URLSearchParams } = { url: new URL(start) };
  for (;;) {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const { url, body } = next;
    const method = body === undefined ? {} : { method: "POST", body };
    const response = await fetch(url, { ...method, redirect: "manual", headers: { cookie } });
    for (const line of response.headers.getSetCookie()) {
      const [pair = ""] = line.split(";");
      cookies.set(pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1));
    }
    const location = response.headers.get("location");
    if (location !== null) {
      next = { url: new URL(location, url) };
      continue;
    }
    const text = await response.text();
    const form = /<form\b[^>]*action="([^"]*)"/.exec(text);
    if (form === null) return { url: url.href, status: response.status, text };
    const fields = new URLSearchParams();
    for (const [tag] of text.matchAll(/<input\b[^>]*>/g)) {
      const name = /name="([^"]*)"/.exec(tag)?.[1];
      if (name !== undefined) fields.set(name, /value="([^"]*)"/.exec(tag)?.[1] ?? "");
    }
    fields.set("confirm", "yes");
    next = { url: new URL(form[1]?.replaceAll("&amp;", "&") ?? "", url), body: fields };
  }
}

function portOf(server: Server): number {
  const address = server.address();
  if (typeof address === "object" && address !== null) return address.port;
  throw new Error("no port");
}
