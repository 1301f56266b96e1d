import { once } from "node:events";
import { createServer } from "node:https";
import { text } from "node:stream/consumers";
import { createAuthority } from "../../../src/cluster/control-plane/certificates.ts";
import type { Issuer } from "../../../src/stack/issuer.ts";

/** A fake of Entra that takes a job's token for an application's, and gives tokens that the stack's issuer has signed. */
export interface FakeTokenExchange {
  readonly issuer: string;
  readonly tenant: string;
  /** PEM of its authority. */
  readonly caPem: string;
  /** The tokens that it handed out. */
  readonly tokens: readonly string[];
  close(): void;
}

const TENANT = "11111111-2222-4333-8444-555555555555";
const TOKEN_SECONDS = 300;

export async function startFakeTokenExchange(signer: Issuer): Promise<FakeTokenExchange> {
  const authority = await createAuthority("fake of Entra", { now: () => new Date() });
  const { certPem: cert, keyPem: key } = await authority.issue({ commonName: "entra", hosts: ["localhost"] });
  const tokens: string[] = [];
  const server = createServer({ cert, key }, async (request, response) => {
    const send = (status: number, body: unknown): void =>
      void response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    if (request.method === "GET") {
      send(200, metadata(base()));
      return;
    }
    const fields = new URLSearchParams(await text(request));
    if ((fields.get("client_assertion") ?? "") === "") {
      send(400, { error: "invalid_client", error_description: "AADSTS7000218: there is no assertion" });
      return;
    }
    const scope = (fields.get("scope") ?? "").split(" ").find((name) => name.endsWith("/.default")) ?? "";
    const token = await sign(signer, scope.replace(/\/\.default$/, ""));
    tokens.push(token);
    send(200, { token_type: "Bearer", access_token: token, expires_in: TOKEN_SECONDS, ext_expires_in: TOKEN_SECONDS });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const base = (): string => `https://localhost:${port}/${TENANT}`;
  return {
    issuer: `${base()}/v2.0`,
    tenant: TENANT,
    caPem: authority.certPem,
    tokens,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

function metadata(base: string): unknown {
  return {
    issuer: `${base}/v2.0`,
    authorization_endpoint: `${base}/oauth2/v2.0/authorize`,
    token_endpoint: `${base}/oauth2/v2.0/token`,
    jwks_uri: `${base}/discovery/v2.0/keys`,
    response_types_supported: ["code"],
    subject_types_supported: ["pairwise"],
    id_token_signing_alg_values_supported: ["RS256"],
  };
}

async function sign(issuer: Issuer, audience: string): Promise<string> {
  const now = Math.floor(Date.now() / 1_000);
  return await issuer.sign({
    iss: issuer.url,
    aud: audience,
    sub: "application-1",
    preferred_username: "application-1",
    groups: ["viewers"],
    iat: now,
    exp: now + TOKEN_SECONDS,
  });
}
