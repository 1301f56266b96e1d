import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { Issuer } from "../../../src/stack/issuer.ts";

/**
 * A fake of a build service's token endpoint, as GitHub Actions or Azure Pipelines have one.
 *
 * It answers the job's secret with a token that the stack's issuer has signed.
 */
export interface FakeCiService {
  /** Variables that the service would set in a job that may have tokens. */
  readonly env: Readonly<Record<string, string>>;
  /** Tokens that it handed out. */
  readonly tokens: readonly string[];
  close(): void;
}

type Kind = "github" | "azure";
const TOKEN_SECONDS = 300;

export async function startFakeCiService(kind: Kind, issuer: Issuer): Promise<FakeCiService> {
  const secret = randomBytes(24).toString("base64url");
  const tokens: string[] = [];
  const server = createServer((request, response) => {
    const send = (status: number, body: unknown): void =>
      void response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    if (request.headers.authorization !== `Bearer ${secret}`) {
      send(401, { message: "not this job's secret" });
      return;
    }
    const url = new URL(request.url ?? "/", "http://127.0.0.1");
    // Azure's tokens have this one audience for every job.
    const audience = kind === "github" ? url.searchParams.get("audience") : "api://AzureADTokenExchange";
    void sign(issuer, audience).then((token) => {
      tokens.push(token);
      send(200, kind === "github" ? { value: token } : { oidcToken: token });
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = `http://127.0.0.1:${portOf(server)}/token?job=1`;
  const env =
    kind === "github"
      ? { ACTIONS_ID_TOKEN_REQUEST_URL: address, ACTIONS_ID_TOKEN_REQUEST_TOKEN: secret }
      : { SYSTEM_OIDCREQUESTURI: address, SYSTEM_ACCESSTOKEN: secret };
  return { env, tokens, close: () => void server.close() };
}

async function sign(issuer: Issuer, audience: unknown): Promise<string> {
  const now = Math.floor(Date.now() / 1_000);
  return await issuer.sign({
    iss: issuer.url,
    aud: audience,
    sub: "repo:acme/shop:ref:refs/heads/main",
    preferred_username: "repo:acme/shop",
    groups: ["viewers"],
    iat: now,
    exp: now + TOKEN_SECONDS,
  });
}

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}
