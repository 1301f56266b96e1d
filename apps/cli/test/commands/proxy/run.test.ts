import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { ConnectError } from "@cluster-connect/protocol";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, onTestFinished, test } from "vitest";
import { parse } from "yaml";
import { MAIN, type TestCli, testCli } from "../../support/cli.ts";
import { startRelay, type TestCluster, type TestRelay } from "../../support/relay.ts";
import { unsignedToken } from "../../support/tokens.ts";

interface Stage {
  readonly home: string;
  readonly relay: TestRelay;
  readonly cluster: TestCluster;
  readonly env: Readonly<Record<string, string>>;
  readonly cli: TestCli;
}

async function stage(): Promise<Stage> {
  const home = await temporaryFolder();
  const relay = await startRelay();
  const cluster = await relay.addCluster("prod");
  const env = {
    CLUSTER_CONNECT_RELAY: relay.url,
    CLUSTER_CONNECT_TOKEN: unsignedToken({ aud: "cluster" }),
    CLUSTER_CONNECT_RELAY_TOKEN: unsignedToken({ aud: "relay" }),
    ...relay.trusted(),
  };
  return { home, relay, cluster, env, cli: testCli(home, { env }) };
}

/** A command that writes down what it was given and asks the cluster through the kubeconfig's port. */
function probe(home: string): readonly string[] {
  const script = `
    import { readFileSync, statSync, writeFileSync } from "node:fs";
    import { dirname } from "node:path";
    const path = process.env.KUBECONFIG;
    const mode = (statSync(path).mode & 0o777).toString(8);
    const folder = (statSync(dirname(path)).mode & 0o777).toString(8);
    writeFileSync(process.argv[1], JSON.stringify({ path, mode, folder, text: readFileSync(path, "utf8") }));
  `;
  return [process.execPath, "--input-type=module", "-e", script, join(home, "seen.json")];
}

test("the command gets a private kubeconfig that leads to the cluster, and nothing is left afterwards", async () => {
  const { home, cli, cluster, env } = await stage();
  expect(await cli.run("run", "-n", "prod", "--", ...probe(home))).toBe(0);
  const seen = JSON.parse(await readFile(join(home, "seen.json"), "utf8"));
  expect(seen).toMatchObject({ mode: "600", folder: "700" });
  const kubeconfig = parse(seen.text);
  expect(kubeconfig["current-context"]).toBe("prod");
  const [{ cluster: entry }] = kubeconfig.clusters;
  expect(entry["tls-server-name"]).toBe("prod.clusters.cluster-connect.internal");
  expect(Buffer.from(entry["certificate-authority-data"], "base64").toString()).toContain("BEGIN CERTIFICATE");
  await expect(access(seen.path)).rejects.toMatchObject({ code: "ENOENT" });
  const left = (await readdir(home)).filter((name) => name.startsWith("cluster-connect-run-"));
  expect(left).toEqual([]);
  expect(cluster.tokens).toEqual([`Bearer ${env["CLUSTER_CONNECT_TOKEN"]}`]);
});

test("the exec credential of the kubeconfig prints the token that was given", async () => {
  const { home, cli, env } = await stage();
  const read = `
    import { execFileSync } from "node:child_process";
    import { readFileSync, writeFileSync } from "node:fs";
    import { parse } from ${JSON.stringify(import.meta.resolve("yaml"))};
    const { exec } = parse(readFileSync(process.env.KUBECONFIG, "utf8")).users[0].user;
    const clean = { PATH: process.env.PATH, HOME: process.env.HOME };
    writeFileSync(process.argv[1], execFileSync(exec.command, exec.args, { env: clean }));
  `;
  const out = join(home, "credential.json");
  expect(await cli.run("run", "-n", "prod", "--", process.execPath, "--input-type=module", "-e", read, out)).toBe(0);
  expect(JSON.parse(await readFile(out, "utf8")).status.token).toBe(env["CLUSTER_CONNECT_TOKEN"]);
});

test("each cluster has a port of its own, and the version of the exec API is the one that was asked for", async () => {
  const { home, relay, cli } = await stage();
  await relay.addCluster("second");
  const flags = ["-n", "prod", "-n", "second", "--exec-api-version", "v1beta1"];
  expect(await cli.run("run", ...flags, "--", ...probe(home))).toBe(0);
  const { clusters, users } = parse(JSON.parse(await readFile(join(home, "seen.json"), "utf8")).text);
  expect(new Set(clusters.map((one: { cluster: { server: string } }) => one.cluster.server)).size).toBe(2);
  for (const { user } of users) {
    expect(user.exec.apiVersion).toBe("client.authentication.k8s.io/v1beta1");
    expect(user.exec.args.join(" ")).toContain("credential --relay");
    expect(user.exec.args.join(" ")).toContain("--exec-api-version v1beta1");
  }
});

test("the relay gets the relay's token and the cluster gets the cluster's", async () => {
  const { cli, relay, cluster, env } = await stage();
  await cli.run("run", "-n", "prod", "--", "true");
  expect(new Set(relay.tokens)).toEqual(new Set([env["CLUSTER_CONNECT_RELAY_TOKEN"]]));
  expect(new Set(cluster.tokens)).toEqual(new Set([`Bearer ${env["CLUSTER_CONNECT_TOKEN"]}`]));
});

test("an authority that waits is told, although the command owns the terminal", async () => {
  const { cli, cluster } = await stage();
  cluster.pending = Array(32).fill("AB").join(":");
  expect(await cli.run("run", "-n", "prod", "--", "true")).toBe(0);
  expect(cli.err()).toContain(`warning: An agent of prod announces another authority, SHA-256 ${cluster.pending}. `);
});

test("the exit code is the command's own", async () => {
  const { cli } = await stage();
  expect(await cli.run("run", "-n", "prod", "--", "sh", "-c", "exit 37")).toBe(37);
  expect(await cli.run("run", "-n", "prod", "--", "sh", "-c", "kill -KILL $$")).toBe(137);
});

test("the command's flags are its own, with and without --", async () => {
  const { home, cli } = await stage();
  const out = join(home, "out");
  const script = 'printf "%s\\n" "$@" > "$0"';
  expect(await cli.run("run", "-n", "prod", "--", "sh", "-c", script, out, "-n", "shop", "--help")).toBe(0);
  expect(await readFile(out, "utf8")).toBe("-n\nshop\n--help\n");
  expect(await cli.run("run", "-n", "prod", "sh", "-c", script, out, "-n", "shop", "-v")).toBe(0);
  expect(await readFile(out, "utf8")).toBe("-n\nshop\n-v\n");
});

test("a command that does not exist is named, and nothing is left", async () => {
  const { home, cli } = await stage();
  expect(await cli.run("run", "-n", "prod", "--", "no-such-command")).toBe(127);
  expect(cli.err()).toContain("There is no command no-such-command");
  expect((await readdir(home)).filter((name) => name.startsWith("cluster-connect-run-"))).toEqual([]);
});

test("a signal reaches the command, whose own end is what counts", async () => {
  const { home, env } = await stage();
  const script = "trap 'echo got; exit 9' TERM; echo ready; while :; do sleep 0.05; done";
  const args = ["--conditions=source", MAIN, "run", "-n", "prod", "--", "sh", "-c", script];
  const program = spawn(process.execPath, args, {
    env: { PATH: process.env["PATH"], HOME: home, TMPDIR: home, ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void program.kill("SIGKILL"));
  const output = text(program.stdout);
  await once(program.stdout, "data");
  program.kill("SIGTERM");
  const [code] = await once(program, "exit");
  expect(code).toBe(9);
  expect(await output).toContain("got");
  expect((await readdir(home)).filter((name) => name.startsWith("cluster-connect-run-"))).toEqual([]);
});

test("a cluster whose agent is offline is told with the exit code of CC_AGENT_OFFLINE", async () => {
  const { cli, cluster } = await stage();
  cluster.rejection = "CC_AGENT_OFFLINE";
  expect(await cli.run("run", "-n", "prod", "--wait", "0", "--", "true")).toBe(3);
  expect(cli.err()).toContain("(CC_AGENT_OFFLINE)");
  expect(cli.err()).toContain("hint: Run `cluster-connect clusters` to see when the agent was last seen.");
  expect(cli.err()).toMatch(/\ncorrelation id: [0-9a-f]{32}\n$/);
});

test("an agent that comes back within the wait is waited for", async () => {
  const { cli, cluster, relay } = await stage();
  cluster.rejection = "CC_AGENT_OFFLINE";
  const done = cli.run("run", "-n", "prod", "--wait", "30s", "-v", "--", "true");
  const seen = new Promise<void>((resolve) => {
    const check = (): void => {
      if (relay.sessions.size > 0) resolve();
      else setImmediate(check);
    };
    check();
  });
  await seen;
  cluster.rejection = undefined;
  expect(await done).toBe(0);
});

test("an unknown cluster is named, with the one that was probably meant", async () => {
  const { cli } = await stage();
  expect(await cli.run("run", "-n", "prd", "--", "true")).toBe(4);
  expect(cli.err()).toContain("knows no cluster prd that you may reach (CC_CLUSTER_UNKNOWN)");
  expect(cli.err()).toContain("hint: Did you mean prod?");
});

test("a cluster that refuses the token says so with the cluster's own reason", async () => {
  const { cli, cluster } = await stage();
  const details = { causes: [{ reason: "CC_TOKEN_AUDIENCE", message: "hint" }] };
  const message = "The token is for another audience (CC_TOKEN_AUDIENCE)";
  cluster.answer = { status: 401, body: { kind: "Status", message, details } };
  expect(await cli.run("run", "-n", "prod", "--", "true")).toBe(34);
  expect(cli.err()).toContain("error: prod: The token is for another audience (CC_TOKEN_AUDIENCE)\n");
});

test("a caller who may not see the version is ready all the same", async () => {
  const { cli, cluster } = await stage();
  cluster.answer = { status: 403, body: { kind: "Status", message: "forbidden" } };
  expect(await cli.run("run", "-n", "prod", "--", "true")).toBe(0);
});

test("a relay that cannot be reached is named with the reason", async () => {
  const { cli, relay } = await stage();
  await relay.stop();
  expect(await cli.run("run", "-n", "prod", "--", "true")).toBe(7);
  expect(cli.err()).toContain(`${relay.host} cannot be reached: connection refused (CC_RELAY_UNREACHABLE)`);
});

test("a relay that refuses the token is believed", async () => {
  const { cli, relay } = await stage();
  relay.refusal = new ConnectError("CC_TOKEN_ISSUER", "The issuer is not trusted");
  expect(await cli.run("run", "-n", "prod", "--", "true")).toBe(35);
  expect(cli.err()).toContain("The issuer is not trusted (CC_TOKEN_ISSUER)");
});

test("a given token that ran out is told before anything is asked", async () => {
  const { home, env, relay } = await stage();
  const old = testCli(home, { env: { ...env, CLUSTER_CONNECT_TOKEN: unsignedToken({ exp: 1 }) } });
  expect(await old.run("run", "-n", "prod", "--", "true")).toBe(32);
  expect(old.err()).toContain("The token in CLUSTER_CONNECT_TOKEN expired at 1970-01-01T00:00:01.000Z");
  expect(relay.tokens).toEqual([]);
});

test("a token file is read, and a missing one is named", async () => {
  const { home, relay, cluster } = await stage();
  const tokenFile = join(home, "token");
  const relayTokenFile = join(home, "relay-token");
  await writeFile(tokenFile, `${unsignedToken()}\n`);
  await writeFile(relayTokenFile, unsignedToken());
  const flags = ["--relay", relay.url, "--relay-token-file", relayTokenFile];
  const cli = testCli(home);
  expect(await cli.run("run", "-n", "prod", ...flags, "--token-file", tokenFile, "--", "true")).toBe(0);
  expect(cluster.tokens).toHaveLength(1);
  expect(await cli.run("run", "-n", "prod", ...flags, "--token-file", "/nowhere", "--", "true")).toBe(61);
  expect(cli.err()).toContain("There is no file /nowhere (CC_FILE_MISSING)");
});

test("a token on the command line works and warns; two tokens are one too many", async () => {
  const { cli } = await stage();
  expect(await cli.run("run", "-n", "prod", "--token", unsignedToken(), "--", "true")).toBe(0);
  expect(cli.err()).toContain("warning: other processes can read a token on the command line");
  expect(await cli.run("run", "-n", "prod", "--token", "x", "--token-file", "y", "--", "true")).toBe(2);
});

test("a token for one audience alone says which other one is missing", async () => {
  const { home, env, relay } = await stage();
  const cli = testCli(home, {
    env: { CLUSTER_CONNECT_RELAY: relay.url, CLUSTER_CONNECT_TOKEN: env["CLUSTER_CONNECT_TOKEN"] },
  });
  expect(await cli.run("run", "-n", "prod", "--", "true")).toBe(30);
  expect(cli.err()).toContain("There is a token for the cluster, but none for the relay (CC_NOT_LOGGED_IN)");
  expect(cli.err()).toContain("CLUSTER_CONNECT_RELAY_TOKEN");
});

test("a command behind a proxy is told that the kubeconfig's port needs none, beside what it was told before", async () => {
  const { home, env } = await stage();
  const script = 'require("fs").writeFileSync(process.argv[1], [process.env.NO_PROXY, process.env.no_proxy].join(" "))';
  const told = async (more: Readonly<Record<string, string>>): Promise<string> => {
    const cli = testCli(home, { env: { ...env, ...more } });
    expect(await cli.run("run", "-n", "prod", "--", process.execPath, "-e", script, join(home, "told"))).toBe(0);
    return await readFile(join(home, "told"), "utf8");
  };
  expect(await told({ HTTPS_PROXY: "http://127.0.0.1:1", no_proxy: "a.test" })).toBe(
    "a.test,127.0.0.1,localhost a.test,127.0.0.1,localhost",
  );
  expect(await told({ HTTPS_PROXY: "" })).toBe(" ");
});
