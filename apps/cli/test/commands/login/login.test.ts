import { readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { unverifiedClaims } from "../../../src/tokens/stored-token.ts";
import { createAuthority } from "../../support/certificates.ts";
import { type TestCli, testCli } from "../../support/cli.ts";
import { CLUSTER_AUDIENCE, RELAY_AUDIENCE, startIssuer, type TestIssuer } from "../../support/issuer.ts";
import { startRelay, type TestRelay } from "../../support/relay.ts";

interface Stage {
  readonly home: string;
  readonly relay: TestRelay;
  readonly issuer: TestIssuer;
  readonly cli: TestCli;
}

async function stage(options: Parameters<typeof startIssuer>[0] = {}): Promise<Stage> {
  const home = await temporaryFolder();
  const relay = await startRelay();
  const issuer = await startIssuer(options);
  relay.login = issuer.settings;
  return { home, relay, issuer, cli: testCli(home) };
}

/** Runs `login` and does in the browser what the screen says. */
async function logIn({ cli, issuer, relay }: Stage, ...flags: readonly string[]): Promise<number> {
  const done = cli.run("login", "--relay", relay.url, "--no-browser", ...flags);
  await cli.said("/auth?");
  await issuer.signIn(/^ {2}(http\S+)$/m.exec(cli.err())?.[1] ?? "");
  return await done;
}

test("one sign-in in the browser gives a token for the relay and another one for the clusters", async () => {
  const stageOne = await stage();
  const { cli, relay } = stageOne;
  await relay.addCluster("prod");
  expect(await logIn(stageOne)).toBe(0);
  expect(cli.err()).toContain(`Logged in at ${relay.url} as jane@example.com.`);
  expect(await cli.run("clusters", "-o", "name")).toBe(0);
  expect(cli.out()).toBe("prod\n");
  expect(unverifiedClaims(relay.tokens[0] ?? "")["aud"]).toBe(RELAY_AUDIENCE);
  const next = testCli(stageOne.home);
  expect(await next.run("credential", "--relay", relay.url)).toBe(0);
  const { status } = JSON.parse(next.out());
  expect(unverifiedClaims(status.token)["aud"]).toBe(CLUSTER_AUDIENCE);
});

test("the browser shows that signing in worked, and the address asks for PKCE, state and nonce", async () => {
  const { cli, issuer, relay } = await stage();
  const done = cli.run("login", "--relay", relay.url, "--no-browser");
  await cli.said("/auth?");
  const address = new URL(/^ {2}(http\S+)$/m.exec(cli.err())?.[1] ?? "");
  expect(address.searchParams.get("code_challenge_method")).toBe("S256");
  expect(address.searchParams.get("state")).toMatch(/.{20}/);
  expect(address.searchParams.get("nonce")).toMatch(/.{20}/);
  const page = await issuer.signIn(address.href);
  expect(page.status).toBe(200);
  expect(page.text).toContain("You are signed in");
  expect(await done).toBe(0);
});

test("an answer with another state is not taken, and the sign-in goes on", async () => {
  const { cli, issuer, relay } = await stage();
  const done = cli.run("login", "--relay", relay.url, "--no-browser");
  await cli.said("/auth?");
  const address = new URL(/^ {2}(http\S+)$/m.exec(cli.err())?.[1] ?? "");
  const forged = new URL(address.searchParams.get("redirect_uri") ?? "");
  forged.search = "?code=stolen&state=guessed";
  expect((await fetch(forged)).status).toBe(404);
  await issuer.signIn(address.href);
  expect(await done).toBe(0);
});

test("an issuer's refusal is shown with its reason and ends with the exit code of CC_LOGIN_FAILED", async () => {
  const { cli, relay } = await stage();
  const done = cli.run("login", "--relay", relay.url, "--no-browser");
  await cli.said("/auth?");
  const address = new URL(/^ {2}(http\S+)$/m.exec(cli.err())?.[1] ?? "");
  const answer = new URL(address.searchParams.get("redirect_uri") ?? "");
  answer.searchParams.set("state", address.searchParams.get("state") ?? "");
  answer.searchParams.set("error", "access_denied");
  answer.searchParams.set("error_description", "no\nthanks");
  answer.searchParams.set("iss", new URL(address).origin);
  expect((await fetch(answer)).status).toBe(400);
  expect(await done).toBe(37);
  expect(cli.err()).toContain("access_denied: no thanks (CC_LOGIN_FAILED)\n");
});

test("a device code signs in without a browser on this machine", async () => {
  const { cli, issuer, relay } = await stage();
  const done = cli.run("login", "--relay", relay.url, "--device-code");
  await cli.said("or open ");
  await issuer.signIn(/or open (\S+)/.exec(cli.err())?.[1] ?? "");
  expect(await done).toBe(0);
  expect(cli.err()).toMatch(/open http\S+ on any device and enter the code [A-Z-]+/);
});

test("a machine without a display gets a device code unasked", async () => {
  const { cli, relay } = await stage();
  const done = cli.run("login", "--relay", relay.url);
  await cli.said("enter the code");
  cli.signals.emit("SIGINT");
  expect(await done).toBe(130);
});

test("an issuer without device codes says what to do instead", async () => {
  const { cli, relay } = await stage({ deviceFlow: false });
  expect(await cli.run("login", "--relay", relay.url, "--device-code")).toBe(37);
  expect(cli.err()).toContain("hint: Run `cluster-connect login` without --device-code.");
});

test("what is kept is readable by this user only and the relay is remembered", async () => {
  const stageOne = await stage();
  const { home, relay } = stageOne;
  expect(await logIn(stageOne)).toBe(0);
  const config = join(home, ".config/cluster-connect/config.yaml");
  expect(await readFile(config, "utf8")).toBe(`relay: ${relay.url}\n`);
  const folder = join(home, ".local/state/cluster-connect/logins");
  expect((await stat(folder)).mode & 0o777).toBe(0o700);
  const [name = ""] = await import("node:fs/promises").then(({ readdir }) => readdir(folder));
  expect((await stat(join(folder, name))).mode & 0o777).toBe(0o600);
});

test("no token is ever written to the screen", async () => {
  const stageOne = await stage();
  const { cli } = stageOne;
  await logIn(stageOne, "-v");
  expect(cli.err() + cli.out()).not.toContain("eyJ");
});

test("after logout there is no login and the issuer has taken the refresh token back", async () => {
  const stageOne = await stage();
  const { cli, home, issuer } = stageOne;
  await logIn(stageOne);
  const revoked: string[] = [];
  issuer.answer = (request) => {
    if (request.url === "/token/revocation") revoked.push(request.url);
    return false;
  };
  expect(await cli.run("logout")).toBe(0);
  expect(revoked).toHaveLength(1);
  const next = testCli(home);
  expect(await next.run("clusters")).toBe(30);
  expect(next.err()).toContain("You are not logged in at");
});

test("logout goes on without the authorities' file that the login named and that is gone", async () => {
  const stageOne = await stage();
  const { home } = stageOne;
  const caFile = join(home, "ca.pem");
  await writeFile(caFile, (await createAuthority()).pem);
  expect(await logIn(stageOne, "--ca-file", caFile)).toBe(0);
  await rm(caFile);
  const next = testCli(home);
  expect(await next.run("logout")).toBe(0);
  expect(next.err()).toBe(`warning: There is no file ${caFile}\nLogged out.\n`);
});

test("a wrong choice of where tokens are kept is said before anybody signs in", async () => {
  const { home, relay } = await stage();
  const cli = testCli(home, { env: { CLUSTER_CONNECT_TOKEN_STORE: "vault" } });
  expect(await cli.run("login", "--relay", relay.url, "--no-browser")).toBe(2);
  expect(cli.err()).toContain("CLUSTER_CONNECT_TOKEN_STORE is none of auto, file, keyring (CC_USAGE)");
  expect(cli.err()).not.toContain("/auth?");
});

test("a relay without login settings names the flags that are missing", async () => {
  const { cli, relay } = await stage();
  relay.login = null;
  expect(await cli.run("login", "--relay", relay.url, "--issuer", "http://127.0.0.1:1")).toBe(2);
  expect(cli.err()).toContain("missing: --client-id, --cluster-audience (CC_USAGE)");
});

test("an issuer that cannot be reached is named with the reason", async () => {
  const { cli, issuer, relay } = await stage();
  await issuer.stop();
  expect(await cli.run("login", "--relay", relay.url)).toBe(38);
  expect(cli.err()).toContain(
    `${new URL(issuer.url).host} cannot be reached: connection refused (CC_ISSUER_UNREACHABLE)`,
  );
});

test("an issuer without TLS is refused unless it is on this machine", async () => {
  const { cli, relay, issuer } = await stage();
  relay.login = { ...issuer.settings, issuer: "http://issuer.example.com" };
  expect(await cli.run("login", "--relay", relay.url)).toBe(37);
  expect(cli.err()).toContain("http://issuer.example.com has no TLS");
});
