import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import { expect, onTestFinished, test } from "vitest";
import { unverifiedClaims } from "../../src/tokens/stored-token.ts";
import { testCli } from "../support/cli.ts";
import { CLUSTER_AUDIENCE, RELAY_AUDIENCE } from "../support/issuer.ts";
import { startRelay } from "../support/relay.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { unsignedToken } from "../support/tokens.ts";

interface Service {
  readonly url: string;
  readonly asked: { readonly method: string; readonly path: string; readonly authorization: string }[];
}

/** A build service that gives a token for whichever audience is asked for. */
async function startService(answer: (request: IncomingMessage, url: URL) => unknown): Promise<Service> {
  const asked: { method: string; path: string; authorization: string }[] = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? "", "http://service");
    asked.push({ method: request.method ?? "", path: url.search, authorization: request.headers.authorization ?? "" });
    const body = answer(request, url);
    response.writeHead(body === undefined ? 403 : 200).end(JSON.stringify(body ?? {}));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return { url: `http://127.0.0.1:${port}`, asked };
}

const LOGIN = {
  issuer: "https://issuer.test",
  clientId: "cli",
  scopes: [],
  audiences: { relay: RELAY_AUDIENCE, cluster: CLUSTER_AUDIENCE },
  resourceParameter: "resource",
} as const;

test("a job of GitHub Actions gets a token for each audience without any secret of ours", async () => {
  const relay = await startRelay();
  relay.login = LOGIN;
  const cluster = await relay.addCluster("prod");
  const service = await startService((_request, url) => ({
    value: unsignedToken({ aud: url.searchParams.get("audience") }),
  }));
  const env = {
    CLUSTER_CONNECT_RELAY: relay.url,
    ACTIONS_ID_TOKEN_REQUEST_URL: `${service.url}/token?api-version=2`,
    ACTIONS_ID_TOKEN_REQUEST_TOKEN: "request-token",
  };
  const cli = testCli(await tempFolder(), { env });
  expect(await cli.run("run", "-n", "prod", "--", "true")).toBe(0);
  expect(unverifiedClaims(relay.tokens[0] ?? "")["aud"]).toBe(RELAY_AUDIENCE);
  expect(unverifiedClaims(cluster.tokens[0]?.slice("Bearer ".length) ?? "")["aud"]).toBe(CLUSTER_AUDIENCE);
  expect(service.asked).toHaveLength(2);
  expect(service.asked[0]?.path).toContain("api-version=2&audience=");
  expect(service.asked[0]?.authorization).toBe("Bearer request-token");
  expect(cli.err()).not.toContain("request-token");
});

test("another job on the same machine does not get the first one's token", async () => {
  const relay = await startRelay();
  relay.login = LOGIN;
  const service = await startService((request) => ({ value: unsignedToken({ sub: request.headers.authorization }) }));
  const home = await tempFolder();
  const subjects: unknown[] = [];
  for (const token of ["one", "two"]) {
    const env = { ACTIONS_ID_TOKEN_REQUEST_URL: service.url, ACTIONS_ID_TOKEN_REQUEST_TOKEN: token };
    const cli = testCli(home, { env });
    expect(await cli.run("credential", "--relay", relay.url)).toBe(0);
    subjects.push(unverifiedClaims(JSON.parse(cli.out()).status.token)["sub"]);
  }
  expect(subjects).toEqual(["Bearer one", "Bearer two"]);
});

test("a job of Azure Pipelines asks by POST, for its service connection where one is named", async () => {
  const relay = await startRelay();
  relay.login = LOGIN;
  const service = await startService(() => ({ oidcToken: unsignedToken({ aud: "api://AzureADTokenExchange" }) }));
  const env = {
    SYSTEM_OIDCREQUESTURI: `${service.url}/oidctoken`,
    SYSTEM_ACCESSTOKEN: "system-token",
    CLUSTER_CONNECT_SERVICE_CONNECTION: "connection-1",
  };
  const cli = testCli(await tempFolder(), { env });
  expect(await cli.run("credential", "--relay", relay.url)).toBe(0);
  expect(service.asked).toEqual([
    { method: "POST", path: "?api-version=7.1&serviceConnectionId=connection-1", authorization: "Bearer system-token" },
  ]);
});

test("a job of GitLab uses the tokens that its file asked for, each for its own audience", async () => {
  const relay = await startRelay();
  relay.login = LOGIN;
  const cluster = await relay.addCluster("prod");
  const env = {
    GITLAB_CI: "true",
    CLUSTER_CONNECT_RELAY: relay.url,
    CLUSTER_CONNECT_ID_TOKEN: unsignedToken({ aud: CLUSTER_AUDIENCE }),
    CLUSTER_CONNECT_RELAY_ID_TOKEN: unsignedToken({ aud: ["https://other.test", RELAY_AUDIENCE] }),
  };
  const cli = testCli(await tempFolder(), { env });
  expect(await cli.run("run", "-n", "prod", "--", "true")).toBe(0);
  expect(relay.tokens[0]).toBe(env.CLUSTER_CONNECT_RELAY_ID_TOKEN);
  expect(cluster.tokens[0]).toBe(`Bearer ${env.CLUSTER_CONNECT_ID_TOKEN}`);
});

test("variables of other names are named by a setting", async () => {
  const relay = await startRelay();
  relay.login = LOGIN;
  const token = unsignedToken({ aud: CLUSTER_AUDIENCE });
  const env = { CLUSTER_CONNECT_ID_TOKEN_VARIABLES: "FIRST, SECOND", SECOND: token };
  const cli = testCli(await tempFolder(), { env });
  expect(await cli.run("credential", "--relay", relay.url)).toBe(0);
  expect(JSON.parse(cli.out()).status.token).toBe(token);
});

test.for([
  ["for another audience", { aud: "https://other.test" }, 34, "No token for the audience"],
  ["that is over", { aud: CLUSTER_AUDIENCE, exp: 1_000 }, 32, "The token in CLUSTER_CONNECT_ID_TOKEN expired at 1970"],
] as const)("a job's token %s is told by its variable and never shown", async ([, claims, exit, words]) => {
  const relay = await startRelay();
  relay.login = LOGIN;
  const token = unsignedToken(claims);
  const cli = testCli(await tempFolder(), { env: { CLUSTER_CONNECT_ID_TOKEN: token } });
  expect(await cli.run("credential", "--relay", relay.url)).toBe(exit);
  expect(cli.err()).toContain(words);
  expect(cli.err()).not.toContain(token.split(".")[1]);
});

test("a job that may not have tokens is told what it lacks", async () => {
  const relay = await startRelay();
  relay.login = LOGIN;
  const service = await startService(() => undefined);
  const env = { ACTIONS_ID_TOKEN_REQUEST_URL: service.url, ACTIONS_ID_TOKEN_REQUEST_TOKEN: "x" };
  const cli = testCli(await tempFolder(), { env });
  expect(await cli.run("credential", "--relay", relay.url)).toBe(37);
  expect(cli.err()).toContain("GitHub Actions gave this job no token (HTTP status 403) (CC_LOGIN_FAILED)");
  expect(cli.err()).toContain("permissions id-token: write");
});
