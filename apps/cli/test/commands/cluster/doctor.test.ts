import { spawnSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import { gunzipSync } from "node:zlib";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, onTestFinished, test } from "vitest";
import type { DoctorResult } from "../../../src/doctor/report.ts";
import { createAuthority } from "../../support/certificates.ts";
import { type TestCli, testCli } from "../../support/cli.ts";
import { startHttpProxy } from "../../support/http-proxy.ts";
import { startRelay, type TestCluster, type TestRelay } from "../../support/relay.ts";
import { unsignedToken } from "../../support/tokens.ts";

interface Stage {
  readonly relay: TestRelay;
  readonly cluster: TestCluster;
  cli(tokens?: Readonly<Record<string, string>>): TestCli;
}

async function stage(): Promise<Stage> {
  const home = await temporaryFolder();
  const relay = await startRelay();
  const cluster = await relay.addCluster("prod");
  const env = {
    CLUSTER_CONNECT_RELAY: relay.url,
    CLUSTER_CONNECT_TOKEN: unsignedToken({ aud: "cluster" }),
    CLUSTER_CONNECT_RELAY_TOKEN: unsignedToken({ aud: "relay" }),
  };
  return { relay, cluster, cli: (tokens = {}) => testCli(home, { env: { ...env, ...tokens } }) };
}

async function checks(cli: TestCli, ...flags: readonly string[]): Promise<ReadonlyMap<string, DoctorResult>> {
  await cli.run("doctor", "-o", "json", "--idle-seconds", "0", ...flags);
  const results: readonly DoctorResult[] = JSON.parse(cli.out()).checks;
  return new Map(results.map((result) => [result.check, result]));
}

test("when everything works every hop is told, down to who the cluster sees", async () => {
  const { cli } = await stage();
  const one = cli();
  expect(await one.run("doctor", "--idle-seconds", "0")).toBe(0);
  expect(one.out()).not.toMatch(/FAIL|warn/);
  expect(one.out()).toMatch(/^ok {4}prod: kube-apiserver +v1\.36\.3, answered in \d+ ms$/m);
  expect(one.out()).toMatch(/^ok {4}prod: identity +oidc:jane, groups oidc:team, system:authenticated$/m);
});

test("no token is in the report", async () => {
  const { cli } = await stage();
  const one = cli();
  await one.run("doctor", "-o", "json", "--idle-seconds", "0");
  expect(one.out() + one.err()).not.toContain("eyJ");
});

test("a relay that does not answer fails its own checks and skips those behind it", async () => {
  const { relay, cli } = await stage();
  await relay.stop();
  const one = cli();
  expect(await one.run("doctor", "--idle-seconds", "0")).toBe(7);
  expect(one.out()).toMatch(/^FAIL {2}connection +127\.0\.0\.1:\d+ cannot be reached: connection refused$/m);
  expect(one.out()).toMatch(/^skip {2}grants +the relay does not answer$/m);
});

test("a name that does not resolve is the first failure", async () => {
  const { cli } = await stage();
  const found = await checks(cli(), "--relay", "https://no-such-name.invalid");
  expect(found.get("name")).toMatchObject({ status: "failed", code: "CC_RELAY_UNREACHABLE" });
  expect(found.get("certificate")).toMatchObject({ status: "skipped" });
});

test("a certificate of somebody else is told by its signer", async () => {
  const { cli } = await stage();
  const relay = await startRelay({ tlsName: "localhost" });
  const found = await checks(cli(), "--relay", `https://localhost:${relay.port}`);
  expect(found.get("certificate")).toMatchObject({ status: "failed", code: "CC_TLS_UNTRUSTED" });
  expect(found.get("certificate")?.detail).toContain("signed by test authority");
  expect(found.get("certificate")?.hint).toContain("its proxy intercepts TLS");
});

test("a clock that is wrong is a warning with the difference", async () => {
  const { cli } = await stage();
  const one = cli();
  const late = testCli(one.deps.homeDir, { env: one.deps.env, deps: { now: () => Date.now() - 300_000 } });
  const found = await checks(late);
  expect(found.get("clock")).toMatchObject({
    status: "warning",
    detail: expect.stringMatching(/^(299|300|301) s behind/),
  });
});

test("one token for both audiences is refused, and does not reach the relay", async () => {
  const { cli, relay } = await stage();
  const found = await checks(cli({ CLUSTER_CONNECT_TOKEN: unsignedToken({ aud: ["relay", "cluster"] }) }));
  expect(found.get("token for the relay")).toMatchObject({ status: "failed", code: "CC_AUDIENCE_REFUSED" });
  expect(relay.tokens).toEqual([]);
});

test("without a login the report says so and still checks the network", async () => {
  const { cli } = await stage();
  const found = await checks(cli({ CLUSTER_CONNECT_TOKEN: "", CLUSTER_CONNECT_RELAY_TOKEN: "" }));
  expect(found.get("relay")).toMatchObject({ status: "ok" });
  expect(found.get("token for the relay")).toMatchObject({ status: "failed", code: "CC_NOT_LOGGED_IN" });
  expect(found.get("grants")).toMatchObject({ status: "skipped", detail: "there is no token for the relay" });
});

test("an agent that is offline is told with when it was last seen", async () => {
  const { cluster, cli } = await stage();
  cluster.rejection = "CC_AGENT_OFFLINE";
  const found = await checks(cli());
  expect(found.get("prod: agent")).toMatchObject({
    status: "failed",
    code: "CC_AGENT_OFFLINE",
    detail: "no agent is connected; last seen 7s ago",
  });
});

test("a hop behind the agent is told by the agent itself", async () => {
  const { cluster, cli } = await stage();
  cluster.probe = { ...cluster.probe, apiserver: { ok: false, text: "connection\nrefused" } };
  cluster.answer = { status: 503, body: { kind: "Status", message: "no apiserver" } };
  const one = cli();
  expect(await one.run("doctor", "--idle-seconds", "0")).toBe(6);
  expect(one.out()).toMatch(/^ok {4}prod: auth proxy +ready$/m);
  expect(one.out()).toMatch(/^FAIL {2}prod: auth proxy to kube-apiserver {2}connection refused$/m);
});

test("a changed authority stops before the token is sent", async () => {
  const { cluster, cli } = await stage();
  await checks(cli());
  const before = cluster.tokens.length;
  cluster.announced = (await createAuthority()).pem;
  const found = await checks(cli());
  expect(found.get("prod: trust")).toMatchObject({ status: "failed", code: "CC_CLUSTER_CA_CHANGED" });
  expect(found.get("prod: identity")).toMatchObject({ status: "skipped" });
  expect(cluster.tokens).toHaveLength(before);
});

test("an authority that waits is a warning of its own, and the reason where another certificate is shown", async () => {
  const { cluster, cli } = await stage();
  cluster.pending = Array(32).fill("AB").join(":");
  const found = await checks(cli());
  expect(found.get("prod: trust")).toMatchObject({
    status: "warning",
    detail: expect.stringContaining(`announces another authority, SHA-256 ${cluster.pending}`),
    hint: expect.stringContaining(`admin clusters accept prod --fingerprint ${cluster.pending}`),
  });
  // The tunnel leads to an impostor, and the accepted authority is what is announced.
  const other = await createAuthority();
  cluster.announced = other.pem;
  const one = cli({ CLUSTER_CONNECT_CLUSTER_FINGERPRINT: `prod=${new X509Certificate(other.pem).fingerprint256}` });
  expect((await checks(one)).get("prod: kube-apiserver")).toMatchObject({
    code: "CC_CLUSTER_CA_CHANGED",
    detail: expect.stringContaining("It waits for an administrator; the accepted one stays in force"),
    hint: expect.stringContaining("the agent's key may be stolen"),
  });
});

test("another cluster under the name is a warning of its own, with the command that decides", async () => {
  const { cluster, cli } = await stage();
  expect((await checks(cli())).has("prod: name")).toBe(false);
  cluster.duplicate = "uid-of-the-copy";
  expect((await checks(cli())).get("prod: name")).toMatchObject({
    status: "warning",
    detail: expect.stringContaining("with the UID uid-of-the-copy, claims the name prod and is refused"),
    hint: expect.stringContaining("admin clusters accept prod --uid uid-of-the-copy"),
  });
});

test("a cluster without a grant is told as unknown", async () => {
  const { cli } = await stage();
  const one = cli();
  expect(await one.run("doctor", "-n", "nope", "--idle-seconds", "0")).toBe(4);
  expect(one.out()).toMatch(/^FAIL {2}nope: grant +\S+ knows no cluster nope/m);
});

test("somebody without any role is told what an administrator would type", async () => {
  const { cluster, cli } = await stage();
  cluster.rules = [];
  const found = await checks(cli());
  expect(found.get("prod: permissions")).toMatchObject({
    status: "warning",
    hint: expect.stringContaining("--clusterrole=view --user='oidc:jane'"),
  });
});

test("a channel that nothing cuts answers after a silence", async () => {
  const { cli } = await stage();
  const found = await checks(cli(), "--idle-seconds", "1");
  expect(found.get("idle channel")).toMatchObject({
    status: "ok",
    detail: "the channel answered after 1 s without traffic of yours",
  });
});

test("a channel that is cut while nothing is said is told, with what to change", async () => {
  const { relay, cli } = await stage();
  const one = cli();
  const ended = one.run("doctor", "--idle-seconds", "600");
  await expect.poll(() => one.out()).toContain("prod: permissions");
  relay.cut();
  expect(await ended).toBe(21);
  expect(one.out()).toMatch(/^FAIL {2}idle channel +the channel was cut after \d+ s without traffic$/m);
  expect(one.out()).toContain("have its idle timeout raised");
});

test("a certificate that only this machine trusts is a warning, unless --ca-file says that it is meant", async () => {
  const { cli } = await stage();
  const relay = await startRelay({ tlsName: "localhost" });
  const before = getCACertificates("default");
  onTestFinished(() => setDefaultCACertificates(before));
  setDefaultCACertificates([...before, relay.authority]);
  const found = await checks(cli(), "--relay", `https://localhost:${relay.port}`);
  expect(found.get("certificate")).toMatchObject({
    status: "warning",
    detail: expect.stringContaining("this machine trusts it, but it is not a public authority"),
  });
  const file = join(await temporaryFolder(), "ca.pem");
  await writeFile(file, relay.authority);
  const meant = await checks(cli(), "--relay", `https://localhost:${relay.port}`, "--ca-file", file);
  expect(meant.get("certificate")).toMatchObject({ status: "ok" });
});

test("through an HTTP proxy the certificate is looked at, too", async () => {
  const { cli } = await stage();
  const relay = await startRelay({ tlsName: "relay.test" });
  const proxy = await startHttpProxy({ [`relay.test:${relay.port}`]: relay.port });
  const env = { HTTPS_PROXY: proxy.url };
  const found = await checks(cli(env), "--relay", `https://relay.test:${relay.port}`);
  expect(found.get("proxy settings")?.detail).toMatch(/^by way of 127\.0\.0\.1:\d+$/);
  expect(found.get("certificate")?.detail).toContain("signed by test authority");
});

test("the archive holds the report and the proxies' last lines, and nothing that is secret", async () => {
  const { cli } = await stage();
  const one = cli({ HTTPS_PROXY: "http://jane:hunter2@proxy.example:3128" });
  const home = one.deps.homeDir;
  const folder = join(home, ".local", "state", "cluster-connect", "logs");
  await mkdir(folder, { recursive: true });
  const secrets = [unsignedToken({ aud: "cluster" }), "hunter2", "s3cr3t-refresh", "k".repeat(43)];
  const lines = [...secrets.map((secret) => `refresh_token=${secret}`), `Bearer ${secrets[0]}`, "channel lost"];
  await writeFile(join(folder, "proxy-1-1.log"), `${"old line\n".repeat(500)}${lines.join("\n")}\n`);
  const file = join(home, "doctor.tar.gz");
  expect(await one.run("doctor", "--idle-seconds", "0", "--bundle", file, "--relay", "http://127.0.0.1:1")).toBe(7);
  expect(one.err()).toContain(
    `Wrote ${file}: report.json, environment.txt, config.yaml, proxies.json, logs/proxy-1-1.log`,
  );
  const archive = gunzipSync(await readFile(file)).toString("utf8");
  for (const secret of [...secrets, "eyJ"]) expect(archive).not.toContain(secret);
  for (const kept of ["CC_RELAY_UNREACHABLE", "channel lost", "CLUSTER_CONNECT_TOKEN is set", "proxy.example:3128"]) {
    expect(archive).toContain(kept);
  }
  expect(archive.split("old line").length).toBeLessThan(200);
});

test.runIf(process.platform === "linux")("tar reads the archive", async () => {
  const { cli } = await stage();
  const one = cli();
  const file = join(one.deps.homeDir, "doctor.tar.gz");
  await one.run("doctor", "--idle-seconds", "0", "--bundle", file);
  const listed = spawnSync("tar", ["-tvzf", file], { encoding: "utf8" });
  expect(listed.stdout).toMatch(/^-rw------- 0\/0 +\d+ \S+ \S+ cluster-connect\/report\.json$/m);
});

const LOGIN = { issuer: "https://issuer.test", clientId: "cli", scopes: [], resourceParameter: "resource" } as const;

test("an audience that all clusters share is a warning, told once, also where one cluster is examined", async () => {
  const { relay, cli } = await stage();
  await relay.addCluster("staging");
  relay.login = { ...LOGIN, audiences: { relay: "relay", cluster: "cluster" } };
  const found = await checks(cli(relay.trusted()));
  expect(found.get("prod: audience")).toMatchObject({
    status: "warning",
    detail: "its tokens, for cluster, count at staging too",
    hint: expect.stringContaining("give each an audience of its own, with {cluster} in audiences.cluster"),
  });
  expect(found.has("staging: audience")).toBe(false);
  expect((await checks(cli(), "-n", "staging")).get("staging: audience")?.detail).toContain("count at prod too");
  relay.login = { ...relay.login, issuer: "https://login.microsoftonline.com/t/v2.0" };
  const hint = (await checks(cli(), "-n", "prod")).get("prod: audience")?.hint;
  expect(hint).toContain("have an application at Entra for each cluster");
});

test("one cluster alone shares its audience with nobody", async () => {
  const { relay, cli } = await stage();
  relay.login = { ...LOGIN, audiences: { relay: "relay", cluster: "cluster" } };
  expect((await checks(cli())).has("prod: audience")).toBe(false);
});

test("tokens that two clusters take are a warning where the relay says nothing about them", async () => {
  const { relay, cli } = await stage();
  await relay.addCluster("staging");
  const found = await checks(cli(relay.trusted()));
  expect(found.has("prod: audience")).toBe(false);
  expect(found.get("staging: audience")?.detail).toBe("its tokens, for cluster, count at prod too");
});
