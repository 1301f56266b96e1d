import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import { text } from "node:stream/consumers";
import { createFakeEntraGrants, type FakeEntraApp, type GrantAnswer } from "./fake-entra-grants.ts";
import { createFakeEntraTokens } from "./fake-entra-tokens.ts";
import { portOf } from "./port-of.ts";
import { createSigningKey } from "./signing-key.ts";

export interface FakeEntraOptions {
  /** Certificate and key for `localhost`, PEM. */
  readonly tls: { readonly cert: string; readonly key: string };
  readonly apps: readonly FakeEntraApp[];
  readonly accessTokenSeconds?: number;
  /** 0, the default, takes a free one. */
  readonly port?: number;
}

/**
 * A fake of Microsoft Entra ID: its addresses, grants and claims as the public documentation describes them, on
 * loopback with TLS. It shows how the library and this product behave, not how Entra does.
 */
export interface FakeEntra {
  /** Stands for `https://login.microsoftonline.com`. */
  readonly url: string;
  readonly tenantId: string;
  /** The issuer that an application of this tenant is told. */
  readonly issuer: string;
  /** `iss` of tokens: what the real authority would write. */
  readonly tokenIssuer: string;
  /** How many tokens were given, by grant type. */
  readonly grants: Readonly<Record<string, number>>;
  /** Meets each request first; true when it has answered. */
  fault: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined;
  /** The document at an address that a verifier fetches: discovery or keys under {@link tokenIssuer}. */
  document(url: URL): string;
  /** Acts as a person that was shown a device code. */
  enterDeviceCode(code: string): boolean;
  /** Ends every refresh token. */
  revoke(): void;
  stop(): Promise<void>;
}

const TENANT = "11111111-2222-4333-8444-555555555555";

/** Starts the fake. Every sign-in is jane's. */
export async function startFakeEntra(options: FakeEntraOptions): Promise<FakeEntra> {
  const key = await createSigningKey("RS256");
  const tokenIssuer = `https://login.microsoftonline.com/${TENANT}/v2.0`;
  const seconds = options.accessTokenSeconds ?? 3_600;
  const server = createServer(options.tls, (request, response) => {
    if (entra.fault?.(request, response) === true) return;
    void route(request, response);
  });
  server.listen(options.port ?? 0, "127.0.0.1");
  await once(server, "listening");
  const url = `https://localhost:${portOf(server)}`;
  const issuer = `${url}/${TENANT}/v2.0`;
  const tokens = createFakeEntraTokens({ key, tenantId: TENANT, issuer: tokenIssuer, identityIssuer: issuer, seconds });
  const grants = createFakeEntraGrants(tokens, {
    apps: options.apps,
    tokenEndpoint: `${url}/${TENANT}/oauth2/v2.0/token`,
  });

  async function route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const asked = new URL(request.url ?? "/", url);
    const fields = new URLSearchParams(request.method === "POST" ? await text(request) : asked.search);
    switch (asked.pathname) {
      case `/${TENANT}/v2.0/.well-known/openid-configuration`:
        return send(response, { status: 200, body: metadata(url, issuer) });
      case `/${TENANT}/discovery/v2.0/keys`:
        return send(response, { status: 200, body: { keys: [key.jwk] } });
      case `/${TENANT}/oauth2/v2.0/authorize`:
        return goBack(response, fields, grants.authorize(fields));
      case `/${TENANT}/oauth2/v2.0/devicecode`:
        return send(response, grants.startDevice(fields, `${url}/device`));
      case `/${TENANT}/oauth2/v2.0/token`:
        return send(response, await grants.token(fields));
      default:
        response.writeHead(404).end();
    }
  }

  const entra: FakeEntra = {
    url,
    tenantId: TENANT,
    issuer,
    tokenIssuer,
    grants: grants.counts,
    fault: undefined,
    document(asked) {
      if (asked.href === `${tokenIssuer}/.well-known/openid-configuration`) {
        return JSON.stringify(metadata("https://login.microsoftonline.com", tokenIssuer));
      }
      return JSON.stringify({ keys: [key.jwk] });
    },
    enterDeviceCode: grants.enterDeviceCode,
    revoke: grants.revoke,
    async stop() {
      if (!server.listening) return;
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
  return entra;
}

function metadata(host: string, issuer: string): unknown {
  const base = `${host}/${TENANT}`;
  return {
    issuer,
    authorization_endpoint: `${base}/oauth2/v2.0/authorize`,
    device_authorization_endpoint: `${base}/oauth2/v2.0/devicecode`,
    token_endpoint: `${base}/oauth2/v2.0/token`,
    jwks_uri: `${base}/discovery/v2.0/keys`,
    response_types_supported: ["code"],
    response_modes_supported: ["query", "form_post"],
    subject_types_supported: ["pairwise"],
    id_token_signing_alg_values_supported: ["RS256"],
    code_challenge_methods_supported: ["S256"],
  };
}

/** Sends the browser back, by its address or, as Entra does where it is asked to, by a form. */
function goBack(response: ServerResponse, asked: URLSearchParams, answer: URLSearchParams): void {
  const back = new URL(asked.get("redirect_uri") ?? "");
  if (asked.get("response_mode") !== "form_post") {
    for (const [name, value] of answer) back.searchParams.set(name, value);
    response.writeHead(302, { location: back.href }).end();
    return;
  }
  const inputs = [...answer].map(([name, value]) => `<input type="hidden" name="${name}" value="${value}">`);
  const page = `<!doctype html><title>Fake of Entra</title><form method="post" action="${back.href}">${inputs.join("")}</form>`;
  response.writeHead(200, { "content-type": "text/html" }).end(page);
}

function send(response: ServerResponse, answer: GrantAnswer): void {
  response.writeHead(answer.status, { "content-type": "application/json" }).end(JSON.stringify(answer.body));
}
