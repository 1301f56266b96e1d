import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, onTestFinished, test } from "vitest";
import { unverifiedClaims } from "../../../src/tokens/stored-token.ts";
import { testCli } from "../../support/cli.ts";
import { CLUSTER_AUDIENCE, RELAY_AUDIENCE } from "../../support/issuer.ts";
import { startRelay } from "../../support/relay.ts";
import { unsignedToken } from "../../support/tokens.ts";

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

/** Audiences that the job's file names. */
const NAMED = {
  CLUSTER_CONNECT_RELAY_AUDIENCE: RELAY_AUDIENCE,
  CLUSTER_CONNECT_CLUSTER_AUDIENCE: CLUSTER_AUDIENCE,
};

test("a job of GitHub Actions gets a token for each audience without any secret of ours", async () => {
  const relay = await startRelay();
  relay.login = LOGIN;
  const cluster = await relay.addCluster("prod");
  const service = await startService((_request, url) => ({
    value: unsignedToken({ aud: url.searchParams.get("audience") }),
  }));
  const env = {
    ...NAMED,
    CLUSTER_CONNECT_RELAY: relay.url,
    ACTIONS_ID_TOKEN_REQUEST_URL: `${service.url}/token?api-version=2`,
    ACTIONS_ID_TOKEN_REQUEST_TOKEN: "request-token",
  };
  const cli = testCli(await temporaryFolder(), { env });
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
  const home = await temporaryFolder();
  const subjects: unknown[] = [];
  for (const token of ["one", "two"]) {
    const env = { ...NAMED, ACTIONS_ID_TOKEN_REQUEST_URL: service.url, ACTIONS_ID_TOKEN_REQUEST_TOKEN: token };
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
    ...NAMED,
    SYSTEM_OIDCREQUESTURI: `${service.url}/oidctoken`,
    SYSTEM_ACCESSTOKEN: "system-token",
    CLUSTER_CONNECT_SERVICE_CONNECTION: "connection-1",
  };
  const cli = testCli(await temporaryFolder(), { env });
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
    ...NAMED,
    GITLAB_CI: "true",
    CLUSTER_CONNECT_RELAY: relay.url,
    CLUSTER_CONNECT_ID_TOKEN: unsignedToken({ aud: CLUSTER_AUDIENCE }),
    CLUSTER_CONNECT_RELAY_ID_TOKEN: unsignedToken({ aud: ["https://other.test", RELAY_AUDIENCE] }),
  };
  const cli = testCli(await temporaryFolder(), { env });
  expect(await cli.run("run", "-n", "prod", "--", "true")).toBe(0);
  expect(relay.tokens[0]).toBe(env.CLUSTER_CONNECT_RELAY_ID_TOKEN);
  expect(cluster.tokens[0]).toBe(`Bearer ${env.CLUSTER_CONNECT_ID_TOKEN}`);
});

test("variables of other names are named by a setting", async () => {
  const relay = await startRelay();
  relay.login = LOGIN;
  const token = unsignedToken({ aud: CLUSTER_AUDIENCE });
  const env = { ...NAMED, CLUSTER_CONNECT_ID_TOKEN_VARIABLES: "FIRST, SECOND", SECOND: token };
  const cli = testCli(await temporaryFolder(), { env });
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
  const cli = testCli(await temporaryFolder(), { env: { ...NAMED, CLUSTER_CONNECT_ID_TOKEN: token } });
  expect(await cli.run("credential", "--relay", relay.url)).toBe(exit);
  expect(cli.err()).toContain(words);
  expect(cli.err()).not.toContain(token.split(".")[1]);
});

test("a job that may not have tokens is told what it lacks", async () => {
  const relay = await startRelay();
  relay.login = LOGIN;
  const service = await startService(() => undefined);
  const env = { ...NAMED, ACTIONS_ID_TOKEN_REQUEST_URL: service.url, ACTIONS_ID_TOKEN_REQUEST_TOKEN: "x" };
  const cli = testCli(await temporaryFolder(), { env });
  expect(await cli.run("credential", "--relay", relay.url)).toBe(37);
  expect(cli.err()).toContain("GitHub Actions gave this job no token (HTTP status 403) (CC_LOGIN_FAILED)");
  expect(cli.err()).toContain("permissions id-token: write");
});

const OWN = { ...NAMED, CLUSTER_CONNECT_CLUSTER_AUDIENCE: "https://k8s.test/{cluster}" };
const audienceOf = (token: string | undefined): unknown =>
  unverifiedClaims(token?.slice("Bearer ".length) ?? "")["aud"];

test("a job of GitHub Actions asks for the audience of each cluster that it names", async () => {
  const relay = await startRelay();
  const clusters = [await relay.addCluster("prod"), await relay.addCluster("staging")];
  const service = await startService((_request, url) => ({
    value: unsignedToken({ aud: url.searchParams.get("audience") }),
  }));
  const env = {
    ...OWN,
    CLUSTER_CONNECT_RELAY: relay.url,
    ACTIONS_ID_TOKEN_REQUEST_URL: service.url,
    ACTIONS_ID_TOKEN_REQUEST_TOKEN: "request-token",
  };
  const cli = testCli(await temporaryFolder(), { env });
  expect(await cli.run("run", "-n", "prod", "-n", "staging", "--", "true")).toBe(0);
  expect(clusters.map(({ tokens }) => audienceOf(tokens[0]))).toEqual([
    "https://k8s.test/prod",
    "https://k8s.test/staging",
  ]);
  const asked = service.asked.map(({ path }) => new URLSearchParams(path).get("audience"));
  expect(new Set(asked)).toEqual(new Set([RELAY_AUDIENCE, "https://k8s.test/prod", "https://k8s.test/staging"]));
});

test("a job of GitLab has a token for each cluster, and the one of another is not taken instead", async () => {
  const relay = await startRelay();
  const clusters = [await relay.addCluster("prod"), await relay.addCluster("staging")];
  const env = {
    ...OWN,
    GITLAB_CI: "true",
    CLUSTER_CONNECT_RELAY: relay.url,
    CLUSTER_CONNECT_ID_TOKEN_VARIABLES: "RELAY,PROD,STAGING",
    RELAY: unsignedToken({ aud: RELAY_AUDIENCE }),
    PROD: unsignedToken({ aud: "https://k8s.test/prod" }),
    STAGING: unsignedToken({ aud: "https://k8s.test/staging" }),
  };
  const cli = testCli(await temporaryFolder(), { env });
  expect(await cli.run("run", "-n", "prod", "-n", "staging", "--", "true")).toBe(0);
  expect(clusters.map(({ tokens }) => tokens[0])).toEqual([`Bearer ${env.PROD}`, `Bearer ${env.STAGING}`]);
  const other = testCli(await temporaryFolder(), { env: { ...env, STAGING: "" } });
  expect(await other.run("credential", "-n", "staging")).toBe(34);
  expect(other.err()).toContain("No token for the audience https://k8s.test/staging in RELAY and PROD");
});

test.for([
  ["two clusters", ["https://k8s.test/prod", "https://k8s.test/staging"], "is for https://k8s.test/staging as well"],
  ["another cluster", ["https://k8s.test/staging"], "is for https://k8s.test/staging instead"],
] as const)("a build service's token for %s is not sent to the one", async ([, aud, words]) => {
  const relay = await startRelay();
  const cluster = await relay.addCluster("prod");
  const service = await startService((_request, url) => {
    const asked = url.searchParams.get("audience");
    return { value: unsignedToken({ aud: asked === RELAY_AUDIENCE ? asked : aud }) };
  });
  const env = { ...OWN, ACTIONS_ID_TOKEN_REQUEST_URL: service.url, ACTIONS_ID_TOKEN_REQUEST_TOKEN: "request-token" };
  const cli = testCli(await temporaryFolder(), { env: { ...env, CLUSTER_CONNECT_RELAY: relay.url } });
  expect(await cli.run("run", "-n", "prod", "--", "true")).toBe(34);
  expect(cli.err()).toContain(`The token for https://k8s.test/prod ${words} (CC_TOKEN_AUDIENCE)`);
  expect(cluster.tokens).toEqual([]);
});
