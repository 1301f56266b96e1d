import { execFile } from "node:child_process";
import { chmod, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { getCACertificates, rootCertificates, setDefaultCACertificates } from "node:tls";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { createTokenVerifier, parseAuthenticationConfiguration, presetConfiguration } from "@cluster-connect/auth";
import { startTestIssuer } from "@cluster-connect/auth/testing";
import { expect, test } from "vitest";
import { openTokenCache } from "../../../src/tokens/choose-tokens.ts";
import { unverifiedClaims } from "../../../src/tokens/stored-token.ts";
import { loginKey } from "../../../src/tokens/vault/token-cache.ts";
import { MAIN, type TestCli, testCli } from "../../support/cli.ts";
import { CLI_APP, CLUSTER_APP, type EntraStage, entraStage, RELAY_APP } from "../../support/entra.ts";
import { startProgram } from "../../support/program.ts";

const run = promisify(execFile);
const NO_END = { signal: new AbortController().signal };
const FORM_BROWSER = fileURLToPath(new URL("../../support/form-browser.ts", import.meta.url));
const APP = "99999999-0000-4000-8000-000000000009";

/** Signs in with a device code, as on a machine without a browser. */
async function logIn({ entra, home, relay }: EntraStage): Promise<TestCli> {
  const cli = testCli(home);
  const done = cli.run("login", "--relay", relay.url, "--entra");
  await cli.said("enter the code ");
  expect(entra.enterDeviceCode(/enter the code (\S+)/.exec(cli.err())?.[1] ?? "")).toBe(true);
  expect(await done).toBe(0);
  return cli;
}

/** The token that kubectl gets. */
async function clusterToken({ home, relay }: EntraStage, env: Readonly<Record<string, string>> = {}): Promise<string> {
  const cli = testCli(home, { env });
  expect(await cli.run("credential", "--relay", relay.url)).toBe(0);
  return JSON.parse(cli.out()).status.token;
}

/** Makes the kept cluster token as old as it would be later. */
async function age({ home, relay }: EntraStage, leftMs: number): Promise<void> {
  const cache = openTokenCache({ env: {}, homeDir: home, openKeyStore: async () => undefined });
  await cache.update(loginKey(relay.url), NO_END, async (record) => {
    const token = record?.tokens[CLUSTER_APP];
    if (record === undefined || token === undefined) throw new Error("not logged in");
    const expiresAt = new Date(Date.now() + leftMs);
    const obtainedAt = new Date(expiresAt.getTime() - 600_000);
    return { ...record, tokens: { ...record.tokens, [CLUSTER_APP]: { ...token, expiresAt, obtainedAt } } };
  });
}

test("one device code at Entra serves relay and clusters, and each token is for its own application", async () => {
  const stage = await entraStage();
  const { entra, home, relay } = stage;
  await relay.addCluster("prod");
  const cli = await logIn(stage);
  expect(cli.err()).toContain(`Logged in at ${relay.url} as jane@example.com.`);
  expect(cli.err()).toMatch(/^Kept in \S+\.json, which only you can read\.$/m);
  const next = testCli(home);
  expect(await next.run("clusters", "-o", "name")).toBe(0);
  expect(unverifiedClaims(relay.tokens[0] ?? "")["aud"]).toBe(RELAY_APP);
  expect(unverifiedClaims(await clusterToken(stage))["aud"]).toBe(CLUSTER_APP);
  expect(entra.grants).toEqual({ device_code: 1, refresh_token: 1 });
});

test("an authority behind a certificate of the machine's own store is trusted as the rest is", async () => {
  const stage = await entraStage({ apps: [{ clientId: APP, secret: "s" }] });
  const trusted = getCACertificates("default");
  setDefaultCACertificates([...rootCertificates]);
  const asked: string[] = [];
  // Stands for the fetch of the program itself, which reads the machine's store when a certificate did not pass.
  const fetchHere: typeof fetch = async (input, init) => {
    if (!String(input).startsWith(stage.entra.url)) return await fetch(input, init);
    asked.push(String(input));
    setDefaultCACertificates(trusted);
    return await fetch(input, init);
  };
  const env = { ...stage.named, AZURE_CLIENT_ID: APP, AZURE_CLIENT_SECRET: "s" };
  const cli = testCli(stage.home, { env, deps: { fetch: fetchHere } });
  expect(await cli.run("login", "--relay", stage.relay.url, "--service-principal")).toBe(0);
  expect(asked).toEqual([stage.entra.url]);
});

test("the cluster's token passes a verifier with the preset for Entra", async () => {
  const stage = await entraStage();
  await logIn(stage);
  const preset = { kind: "entra", tenantIds: [stage.entra.tenantId], audiences: [CLUSTER_APP] } as const;
  const { issuers } = parseAuthenticationConfiguration(presetConfiguration([preset]));
  const deps = { now: Date.now, fetchDocument: async (url: URL) => stage.entra.document(url) };
  const principal = await createTokenVerifier(issuers, {}, deps).verify(await clusterToken(stage), NO_END);
  expect(principal.username).toMatch(/^entra:aaaaaaaa-/);
});

test.skipIf(process.platform !== "linux")("the browser signs in with a code of its own and PKCE", async () => {
  const { caFile, entra, home, named, relay } = await entraStage();
  const browser = join(home, "browser");
  await writeFile(browser, `#!/bin/sh\nexec "${process.execPath}" "${FORM_BROWSER}" "$1"\n`);
  await chmod(browser, 0o755);
  const env = { ...named, HOME: home, NODE_EXTRA_CA_CERTS: caFile, BROWSER: browser };
  const program = startProgram(env, "login", "--relay", relay.url, "--entra");
  const { code, err } = await program.ended;
  expect(err).toContain("as jane@example.com.");
  expect(code).toBe(0);
  expect(entra.grants).toEqual({ authorization_code: 1, refresh_token: 1 });
});

test("without a browser to be opened the address is shown, and our own way signs in at Entra", async () => {
  const stage = await entraStage();
  const cli = testCli(stage.home);
  const done = cli.run("login", "--relay", stage.relay.url, "--entra", "--no-browser");
  await cli.said("/authorize?");
  await (await fetch(/^ {2}(https\S+)$/m.exec(cli.err())?.[1] ?? "")).text();
  expect(await done.then(() => cli.err())).toContain("as jane@example.com.");
  expect(unverifiedClaims(await clusterToken(stage))["aud"]).toBe(CLUSTER_APP);
});

test("eight processes that ask at once make one renewal at Entra and get the same token", async () => {
  const stage = await entraStage();
  const { caFile, entra, home, relay } = stage;
  await logIn(stage);
  await age(stage, 10_000);
  const before = entra.grants["refresh_token"] ?? 0;
  const env = { PATH: process.env["PATH"], HOME: home, NODE_EXTRA_CA_CERTS: caFile };
  const argv = ["--conditions=source", MAIN, "credential", "--relay", relay.url];
  const answers = await Promise.all(Array.from({ length: 8 }, () => run(process.execPath, argv, { env })));
  expect(new Set(answers.map(({ stdout }) => JSON.parse(stdout).status.token)).size).toBe(1);
  expect((entra.grants["refresh_token"] ?? 0) - before).toBe(1);
});

test("while Entra is away the old token serves until its end; a sign-in that ran out says how to renew it", async () => {
  const stage = await entraStage();
  const { entra, home, relay } = stage;
  await logIn(stage);
  await age(stage, 20_000);
  entra.fault = (_request, response) => {
    response.writeHead(503).end();
    return true;
  };
  await clusterToken(stage);
  await age(stage, -1_000);
  const away = testCli(home);
  expect(await away.run("credential", "--relay", relay.url)).toBe(38);
  entra.fault = undefined;
  entra.revoke();
  const over = testCli(home);
  expect(await over.run("credential", "--relay", relay.url)).toBe(30);
  expect(over.err()).toContain("AADSTS70043");
  expect(over.err()).toContain(`hint: Run \`cluster-connect login --relay ${relay.url}\``);
});

test("a service principal's secret comes from standard input or the environment, never from the command line", async () => {
  const stage = await entraStage({ apps: [{ clientId: APP, secret: "s3cret-of-the-app" }] });
  const { home, relay } = stage;
  const flags = ["login", "--relay", relay.url, "--service-principal", "--client-id", APP];
  const stdin = { isTerminal: false, readAll: async () => "s3cret-of-the-app\n" };
  const byInput = testCli(home, { env: stage.named, deps: { stdin } });
  expect(await byInput.run(...flags, "--client-secret-file", "-")).toBe(0);
  expect(unverifiedClaims(await clusterToken(stage))).toMatchObject({ aud: CLUSTER_APP, oid: APP });
  const byEnv = testCli(home, {
    env: { ...stage.named, AZURE_CLIENT_SECRET: "s3cret-of-the-app", AZURE_CLIENT_ID: APP },
  });
  expect(await byEnv.run("login", "--relay", relay.url, "--service-principal")).toBe(0);
  expect(byInput.err() + byEnv.err()).not.toContain("s3cret");
  const wrong = testCli(home, { env: { ...stage.named, AZURE_CLIENT_SECRET: "another", AZURE_CLIENT_ID: APP } });
  expect(await wrong.run("login", "--relay", relay.url, "--service-principal")).toBe(37);
  expect(wrong.err()).toContain("AADSTS7000215");
});

test("workload identity exchanges the pod's token as the environment says, and renews without a person", async () => {
  await using external = await startTestIssuer({ algorithms: ["RS256"] });
  const subject = "system:serviceaccount:ci:runner";
  const keys = (): { keys: Readonly<Record<string, unknown>>[] } => ({ keys: [...external.publicKeys()] });
  const stage = await entraStage({ apps: [{ clientId: APP, federated: { issuer: external.url, subject, keys } }] });
  const path = join(stage.home, "projected");
  await writeFile(path, await external.sign({ sub: subject, aud: "api://AzureADTokenExchange" }));
  const env = { ...stage.named, AZURE_FEDERATED_TOKEN_FILE: path, AZURE_CLIENT_ID: APP };
  const cli = testCli(stage.home, { env });
  expect(await cli.run("login", "--relay", stage.relay.url, "--service-principal")).toBe(0);
  await age(stage, -1_000);
  expect(unverifiedClaims(await clusterToken(stage))["oid"]).toBe(APP);
});

test("a job's own token is exchanged where the service principal trusts the build service", async () => {
  await using external = await startTestIssuer({ algorithms: ["RS256"] });
  const subject = "repo:octo/app:ref:refs/heads/main";
  const keys = (): { keys: Readonly<Record<string, unknown>>[] } => ({ keys: [...external.publicKeys()] });
  const stage = await entraStage({ apps: [{ clientId: APP, federated: { issuer: external.url, subject, keys } }] });
  const asked: string[] = [];
  const fetchHere: typeof fetch = async (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input);
    if (url.host !== "actions.test") return await fetch(input, init);
    asked.push(url.searchParams.get("audience") ?? "");
    return Response.json({ value: await external.sign({ sub: subject, aud: url.searchParams.get("audience") }) });
  };
  const env = {
    ACTIONS_ID_TOKEN_REQUEST_URL: "https://actions.test/token",
    ACTIONS_ID_TOKEN_REQUEST_TOKEN: "x",
    ...stage.named,
    AZURE_CLIENT_ID: APP,
  };
  const cli = testCli(stage.home, { env, deps: { fetch: fetchHere } });
  expect(await cli.run("login", "--relay", stage.relay.url, "--service-principal")).toBe(0);
  expect(new Set(asked)).toEqual(new Set(["api://AzureADTokenExchange"]));
  expect(cli.err()).toContain(`as ${APP}.`);
});

test("a sign-in of az is reused, and asked again only when the kept token is due", async () => {
  const stage = await entraStage();
  const { caFile, home, named, relay } = stage;
  const folder = join(home, "bin");
  await mkdir(folder);
  const calls = join(home, "calls");
  const token = `eyJhbGciOiJub25lIn0.${Buffer.from('{"upn":"jane@az.test"}').toString("base64url")}.c2ln`;
  const answer = `{"accessToken":"${token}","expires_on":4102444800}`;
  await writeFile(join(folder, "az"), `#!/bin/sh\necho "$*" >> "${calls}"\necho '${answer}'\n`);
  await chmod(join(folder, "az"), 0o755);
  const env = { ...named, HOME: home, PATH: `${folder}:${process.env["PATH"]}`, NODE_EXTRA_CA_CERTS: caFile };
  const { code, err } = await startProgram(env, "login", "--relay", relay.url, "--azure-cli").ended;
  expect(err).toContain("as jane@az.test.");
  expect(code).toBe(0);
  const tail = `--tenant ${stage.entra.tenantId}`;
  const expected = [RELAY_APP, CLUSTER_APP].map(
    (app) => `account get-access-token --output json --resource ${app} ${tail}`,
  );
  expect((await readFile(calls, "utf8")).trim().split("\n")).toEqual(expected);
  expect(await clusterToken(stage)).toBe(token);
});

test("ways to sign in that contradict each other, and an application without a proof, are named", async () => {
  const { home, named, relay } = await entraStage();
  const both = testCli(home);
  expect(await both.run("login", "--relay", relay.url, "--identity", "--azure-cli")).toBe(2);
  const none = testCli(home);
  expect(await none.run("login", "--relay", relay.url, "--service-principal", "--client-id", APP)).toBe(2);
  expect(none.err()).toContain("Nothing proves who the service principal is");
  const noClient = testCli(home, { env: { ...named, AZURE_CLIENT_SECRET: "x" } });
  expect(await noClient.run("login", "--relay", relay.url, "--service-principal")).toBe(2);
  expect(noClient.err()).toContain("missing: --client-id");
});

test("--tenant takes the place of the tenant that the relay names", async () => {
  const { home, named, relay } = await entraStage();
  const cli = testCli(home, { env: { ...named, AZURE_CLIENT_SECRET: "x", AZURE_CLIENT_ID: CLI_APP } });
  expect(await cli.run("login", "--relay", relay.url, "--service-principal", "--tenant", "not a tenant")).toBe(2);
  expect(await cli.run("login", "--relay", relay.url, "--service-principal", "--tenant", "other.example.com")).toBe(37);
});

test("what is kept of a login at Entra is readable by this user only", async () => {
  const stage = await entraStage();
  await logIn(stage);
  const folder = join(stage.home, ".local/state/cluster-connect/logins");
  const [name = ""] = await readdir(folder);
  const record = JSON.parse(await readFile(join(folder, name), "utf8"));
  expect(record.entra.kind).toBe("person");
  expect(record.refreshToken).toBeUndefined();
});
