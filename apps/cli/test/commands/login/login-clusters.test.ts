import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { unverifiedClaims } from "../../../src/tokens/stored-token.ts";
import { type TestCli, testCli } from "../../support/cli.ts";
import { RELAY_AUDIENCE, startIssuer, type TestIssuer } from "../../support/issuer.ts";
import { startRelay, type TestCluster, type TestRelay } from "../../support/relay.ts";

const TEMPLATE = "https://k8s.test/{cluster}";
const NAMES = ["prod", "staging", "dev"];

interface Stage {
  readonly relay: TestRelay;
  readonly issuer: TestIssuer;
  readonly clusters: ReadonlyMap<string, TestCluster>;
  /** A new start of the program; the login stays. */
  cli(): TestCli;
}

/** A relay whose clusters have an audience each, and an issuer that knows them (RFC 8707). */
async function stage(): Promise<Stage> {
  const home = await temporaryFolder();
  const relay = await startRelay();
  const issuer = await startIssuer({ clusterAudiences: NAMES.map((name) => `https://k8s.test/${name}`) });
  relay.login = { ...issuer.settings, audiences: { relay: RELAY_AUDIENCE, cluster: TEMPLATE } };
  const clusters = new Map<string, TestCluster>();
  for (const name of NAMES) clusters.set(name, await relay.addCluster(name));
  const env = { CLUSTER_CONNECT_RELAY: relay.url, CLUSTER_CONNECT_RELAY_AUDIENCE: RELAY_AUDIENCE };
  return { relay, issuer, clusters, cli: () => testCli(home, { env: { ...env, ...relay.trusted() } }) };
}

async function logIn({ cli, issuer }: Stage, ...names: readonly string[]): Promise<void> {
  const one = cli();
  const done = one.run("login", "--no-browser", ...names.flatMap((name) => ["-n", name]));
  await one.said("/auth?");
  await issuer.signIn(/^ {2}(http\S+)$/m.exec(one.err())?.[1] ?? "");
  expect([await done, one.err().includes("error")]).toEqual([0, false]);
}

async function credential(cli: TestCli, name: string): Promise<string> {
  expect([await cli.run("credential", "-n", name), cli.err()]).toEqual([0, ""]);
  return JSON.parse(cli.out()).status.token;
}

test("a login for two clusters gets a token for each ahead of time, and each goes to its own cluster", async () => {
  const scene = await stage();
  const { cli, issuer, clusters, relay } = scene;
  await logIn(scene, "prod", "staging");
  const grants = { ...issuer.grants };
  expect(grants).toMatchObject({ authorization_code: 1, refresh_token: 2 });
  expect(await cli().run("run", "-n", "prod", "-n", "staging", "--", "true")).toBe(0);
  for (const name of ["prod", "staging"]) {
    const got = new Set(clusters.get(name)?.tokens.map((token) => unverifiedClaims(token.slice(7))["aud"]));
    expect([...got]).toEqual([`https://k8s.test/${name}`]);
    expect(unverifiedClaims(await credential(cli(), name))["aud"]).toBe(`https://k8s.test/${name}`);
  }
  expect(new Set(relay.tokens.map((token) => unverifiedClaims(token)["aud"]))).toEqual(new Set([RELAY_AUDIENCE]));
  // Nothing had to be asked for: the tokens of the login serve.
  expect(issuer.grants).toEqual(grants);
});

test("a cluster that was not named at the sign-in needs another one, which the hint spells out", async () => {
  const scene = await stage();
  const { cli, relay, clusters } = scene;
  await logIn(scene, "prod");
  const one = cli();
  expect(await one.run("credential", "-n", "staging")).toBe(30);
  expect(one.err()).toContain(`Your login at ${relay.url} is not for staging: `);
  expect(one.err()).toContain(`cluster-connect login --relay ${relay.url} -n prod -n staging\``);
  expect(clusters.get("staging")?.tokens).toEqual([]);
  await logIn(scene, "prod", "staging");
  expect(unverifiedClaims(await credential(cli(), "staging"))["aud"]).toBe("https://k8s.test/staging");
});

test("a command that names no cluster is told to, where each has an audience of its own", async () => {
  const scene = await stage();
  await logIn(scene, "prod");
  const one = scene.cli();
  expect(await one.run("credential")).toBe(2);
  expect(one.err()).toContain("Each cluster takes tokens of its own, and no cluster is named (CC_USAGE)");
});

test("each token is renewed for its own audience when it is due", async () => {
  const scene = await stage();
  await logIn(scene, "prod", "staging");
  const later = (): TestCli => {
    const { deps } = scene.cli();
    return testCli(deps.homeDir, { env: deps.env, deps: { now: () => Date.now() + 599_000 } });
  };
  const before = { ...scene.issuer.grants };
  for (const name of ["prod", "staging"]) {
    const first = await credential(scene.cli(), name);
    const second = await credential(later(), name);
    expect(second).not.toBe(first);
    expect(unverifiedClaims(second)["aud"]).toBe(`https://k8s.test/${name}`);
  }
  expect(scene.issuer.grants["refresh_token"]).toBe((before["refresh_token"] ?? 0) + 2);
});

test("doctor finds nothing to warn of where each cluster has its own audience", async () => {
  const scene = await stage();
  await logIn(scene, ...NAMES);
  const one = scene.cli();
  expect(await one.run("doctor", "-n", "prod", "-n", "staging", "--idle-seconds", "0")).toBe(0);
  expect(one.out()).toMatch(/^ok {4}staging: identity /m);
  expect(one.out()).not.toMatch(/: audience /);
});
