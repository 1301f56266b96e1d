import { execFile } from "node:child_process";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { openTokenCache } from "../../../src/tokens/choose-tokens.ts";
import { unverifiedClaims } from "../../../src/tokens/stored-token.ts";
import { loginKey } from "../../../src/tokens/vault/token-cache.ts";
import { MAIN, testCli } from "../../support/cli.ts";
import { CLUSTER_AUDIENCE, RELAY_AUDIENCE, startIssuer, type TestIssuer } from "../../support/issuer.ts";
import { startRelay, type TestRelay } from "../../support/relay.ts";

const run = promisify(execFile);
const { signal } = new AbortController();

interface Stage {
  readonly home: string;
  readonly relay: TestRelay;
  readonly issuer: TestIssuer;
}

async function loggedIn(options: Parameters<typeof startIssuer>[0] = {}): Promise<Stage> {
  const home = await temporaryFolder();
  const relay = await startRelay();
  const issuer = await startIssuer(options);
  relay.login = issuer.settings;
  const cli = testCli(home);
  const done = cli.run("login", "--relay", relay.url, "--no-browser");
  await cli.said("/auth?");
  await issuer.signIn(/^ {2}(http\S+)$/m.exec(cli.err())?.[1] ?? "");
  expect(await done).toBe(0);
  return { home, relay, issuer };
}

/** Makes the kept cluster token as old as it would be later. */
async function age({ home, relay }: Stage, leftMs: number): Promise<void> {
  await openTokenCache({ env: {}, homeDir: home, openKeyStore: async () => undefined }).update(
    loginKey(relay.url),
    { signal },
    async (record) => {
      if (record === undefined) throw new Error("not logged in");
      const token = record.tokens[CLUSTER_AUDIENCE];
      if (token === undefined) throw new Error("no token");
      const expiresAt = new Date(Date.now() + leftMs);
      const obtainedAt = new Date(expiresAt.getTime() - 600_000);
      return { ...record, tokens: { ...record.tokens, [CLUSTER_AUDIENCE]: { ...token, expiresAt, obtainedAt } } };
    },
  );
}

test("the answer is what kubectl expects, has kubectl ask again after half of its life, and is all there is on standard output", async () => {
  const { home, relay } = await loggedIn();
  const cli = testCli(home);
  expect(await cli.run("credential", "--relay", relay.url)).toBe(0);
  const answer = JSON.parse(cli.out());
  expect(answer).toEqual({
    kind: "ExecCredential",
    apiVersion: "client.authentication.k8s.io/v1",
    spec: {},
    status: {
      token: expect.any(String),
      expirationTimestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
    },
  });
  const realEnd = Number(unverifiedClaims(answer.status.token)["exp"]) * 1_000;
  const early = realEnd - new Date(answer.status.expirationTimestamp).getTime();
  expect(early).toBeGreaterThan(290_000);
  expect(early).toBeLessThan(370_000);
  expect(cli.err()).toBe("");
});

test("the version that kubectl asks for is the one it gets", async () => {
  const { home, relay } = await loggedIn();
  const info = JSON.stringify({ apiVersion: "client.authentication.k8s.io/v1beta1", kind: "ExecCredential" });
  const cli = testCli(home, { env: { KUBERNETES_EXEC_INFO: info } });
  await cli.run("credential", "--relay", relay.url);
  expect(JSON.parse(cli.out()).apiVersion).toBe("client.authentication.k8s.io/v1beta1");
});

test("a client that says no version gets the one of its entry, and one that says it gets what it says", async () => {
  const { home, relay } = await loggedIn();
  const entry = testCli(home);
  expect(await entry.run("credential", "--relay", relay.url, "--exec-api-version", "v1beta1")).toBe(0);
  expect(JSON.parse(entry.out()).apiVersion).toBe("client.authentication.k8s.io/v1beta1");
  const info = JSON.stringify({ apiVersion: "client.authentication.k8s.io/v1", kind: "ExecCredential" });
  const said = testCli(home, { env: { KUBERNETES_EXEC_INFO: info } });
  expect(await said.run("credential", "--relay", relay.url, "--exec-api-version", "v1beta1")).toBe(0);
  expect(JSON.parse(said.out()).apiVersion).toBe("client.authentication.k8s.io/v1");
});

test("a version that is not known is named, and nothing is on standard output", async () => {
  const info = JSON.stringify({ apiVersion: "client.authentication.k8s.io/v1alpha1" });
  const asked = testCli(await temporaryFolder(), { env: { KUBERNETES_EXEC_INFO: info } });
  expect(await asked.run("credential", "--relay", "https://relay.test")).toBe(2);
  expect(asked.err()).toContain('asks for "client.authentication.k8s.io/v1alpha1"');
  expect(asked.err()).toContain("client.authentication.k8s.io/v1 or client.authentication.k8s.io/v1beta1");
  expect(asked.out()).toBe("");
  const flag = testCli(await temporaryFolder());
  expect(await flag.run("run", "-n", "prod", "--exec-api-version", "v2", "--", "true")).toBe(2);
  expect(flag.err()).toMatch(/argument 'v2' is invalid. Allowed choices are v1, v1beta1/);
});

test("twenty processes that ask at once make one renewal and get the same token", async () => {
  const stage = await loggedIn();
  await age(stage, 10_000);
  const before = stage.issuer.grants["refresh_token"] ?? 0;
  const env = { PATH: process.env["PATH"], HOME: stage.home };
  const answers = await Promise.all(
    Array.from({ length: 20 }, () =>
      run(process.execPath, ["--conditions=source", MAIN, "credential", "--relay", stage.relay.url], { env }),
    ),
  );
  const tokens = new Set(answers.map(({ stdout }) => JSON.parse(stdout).status.token));
  expect(tokens.size).toBe(1);
  expect((stage.issuer.grants["refresh_token"] ?? 0) - before).toBe(1);
  expect(await readdir(join(stage.home, ".local/state/cluster-connect/logins"))).toHaveLength(1);
});

test("while the issuer is away the old token serves until its end, and not longer", async () => {
  const stage = await loggedIn();
  await age(stage, 20_000);
  await stage.issuer.stop();
  const cli = testCli(stage.home);
  expect(await cli.run("credential", "--relay", stage.relay.url)).toBe(0);
  await age(stage, -1_000);
  const late = testCli(stage.home);
  expect(await late.run("credential", "--relay", stage.relay.url)).toBe(38);
  expect(late.out()).toBe("");
});

test("an issuer in trouble is told by its status, and the old token serves meanwhile", async () => {
  const stage = await loggedIn();
  await age(stage, 20_000);
  stage.issuer.answer = (_request, response) => {
    response.writeHead(503).end();
    return true;
  };
  expect(await testCli(stage.home).run("credential", "--relay", stage.relay.url)).toBe(0);
  await age(stage, -1_000);
  const late = testCli(stage.home);
  expect(await late.run("credential", "--relay", stage.relay.url)).toBe(38);
  expect(late.err()).toContain("answers with HTTP status 503 (CC_ISSUER_UNREACHABLE)");
});

test("an issuer that refuses leaves a token that is good for long, and the person is told once in a while", async () => {
  const stage = await loggedIn();
  await age(stage, 200_000);
  let asked = 0;
  stage.issuer.answer = (request, response) => {
    if (request.url !== "/token") return false;
    asked++;
    response.writeHead(400, { "content-type": "application/json" });
    response.end(JSON.stringify({ error: "invalid_grant", error_description: "the session is over" }));
    return true;
  };
  const first = testCli(stage.home);
  expect(await first.run("credential", "--relay", stage.relay.url)).toBe(0);
  const end = JSON.parse(first.out()).status.expirationTimestamp;
  expect(Date.parse(end) - Date.now()).toBeLessThanOrEqual(61_000);
  expect(first.err()).toMatch(/^warning: Your login at .* ran out: .*the session is over; the token for the cluster/);
  expect(first.err()).toContain(`Run \`cluster-connect login --relay ${stage.relay.url}\``);
  const second = testCli(stage.home);
  expect(await second.run("credential", "--relay", stage.relay.url)).toBe(0);
  expect(second.err()).toBe("");
  expect(JSON.parse(second.out()).status.token).toBe(JSON.parse(first.out()).status.token);
  expect(asked).toBe(1);
});

test.each([
  [429, "slow_down"],
  [400, "temporarily_unavailable"],
  [400, "server_error"],
  [503, "invalid_grant"],
])("an issuer that answers %i %s fails for the moment only: nobody has to log in again", async (status, error) => {
  const stage = await loggedIn();
  stage.issuer.answer = (request, response) => {
    if (request.url !== "/token") return false;
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify({ error }));
    return true;
  };
  await age(stage, 200_000);
  const early = testCli(stage.home);
  expect(await early.run("credential", "--relay", stage.relay.url)).toBe(0);
  expect(early.err()).toBe("");
  await age(stage, -1_000);
  expect(await testCli(stage.home).run("credential", "--relay", stage.relay.url)).toBe(38);
});

test("a login that ran out says so and how to renew it", async () => {
  const stage = await loggedIn();
  await age(stage, -1_000);
  stage.issuer.answer = (request, response) => {
    if (request.url !== "/token") return false;
    response.writeHead(400, { "content-type": "application/json" });
    response.end(JSON.stringify({ error: "invalid_grant", error_description: "grant request is invalid" }));
    return true;
  };
  const cli = testCli(stage.home);
  expect(await cli.run("credential", "--relay", stage.relay.url)).toBe(30);
  expect(cli.err()).toContain(`Your login at ${stage.relay.url} ran out`);
  expect(cli.err()).toContain(`hint: Run \`cluster-connect login --relay ${stage.relay.url}\``);
});

test("without a login nothing is on standard output", async () => {
  const cli = testCli(await temporaryFolder());
  expect(await cli.run("credential", "--relay", "https://relay.test")).toBe(30);
  expect(cli.out()).toBe("");
});

test("a kept login that is damaged is told by its file and field, never by its content", async () => {
  const { home, relay } = await loggedIn();
  const folder = join(home, ".local/state/cluster-connect/logins");
  const [name = ""] = await readdir(folder);
  const path = join(folder, name);
  await writeFile(path, (await readFile(path, "utf8")).replace('"relay":', '"relay": 7, "was":'));
  const cli = testCli(home);
  expect(await cli.run("credential", "--relay", relay.url)).toBe(30);
  expect(cli.err()).toContain(`The kept login in ${path} cannot be used: relay is wrong (CC_NOT_LOGGED_IN)`);
});

test("a machine's client gets tokens by client credentials and keeps them", async () => {
  const home = await temporaryFolder();
  const relay = await startRelay();
  const issuer = await startIssuer({ machineSecret: "s3cret-of-the-machine" });
  relay.login = issuer.settings;
  const env = {
    CLUSTER_CONNECT_CLIENT_ID: "machine",
    CLUSTER_CONNECT_CLIENT_SECRET: "s3cret-of-the-machine",
    CLUSTER_CONNECT_ISSUER: issuer.url,
    CLUSTER_CONNECT_RELAY_AUDIENCE: RELAY_AUDIENCE,
    CLUSTER_CONNECT_CLUSTER_AUDIENCE: CLUSTER_AUDIENCE,
  };
  const first = testCli(home, { env });
  expect(await first.run("credential", "--relay", relay.url)).toBe(0);
  expect(unverifiedClaims(JSON.parse(first.out()).status.token)["aud"]).toBe(CLUSTER_AUDIENCE);
  const second = testCli(home, { env });
  expect(await second.run("credential", "--relay", relay.url)).toBe(0);
  expect(second.out()).toBe(first.out());
  expect(issuer.grants["client_credentials"]).toBe(1);
  const folder = join(home, ".local/state/cluster-connect/logins");
  const [name = ""] = await readdir(folder);
  expect(await readFile(join(folder, name), "utf8")).not.toContain("s3cret");
});
