import { once } from "node:events";
import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { request } from "node:https";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { connect } from "node:tls";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { createAuthority } from "../../support/certificates.ts";
import { type TestCli, testCli } from "../../support/cli.ts";
import { startRelay, type TestRelay } from "../../support/relay.ts";
import { unsignedToken } from "../../support/tokens.ts";

interface Stage {
  readonly home: string;
  readonly relay: TestRelay;
  cli(): TestCli;
}

async function stage(): Promise<Stage> {
  const home = await temporaryFolder();
  const relay = await startRelay();
  const env = {
    CLUSTER_CONNECT_RELAY: relay.url,
    CLUSTER_CONNECT_TOKEN: unsignedToken({ aud: "cluster" }),
    CLUSTER_CONNECT_RELAY_TOKEN: unsignedToken({ aud: "relay" }),
  };
  return { home, relay, cli: () => testCli(home, { env }) };
}

interface Running {
  readonly cli: TestCli;
  readonly port: number;
  stop(): Promise<number>;
}

async function running(cli: TestCli, ...flags: readonly string[]): Promise<Running> {
  const done = cli.run("proxy", "--port", "0", ...flags);
  await Promise.race([cli.said("Ctrl-C ends it"), done]);
  const port = Number(/127\.0\.0\.1:(\d+)\n/.exec(cli.err())?.[1]);
  return {
    cli,
    port,
    async stop() {
      cli.signals.emit("SIGINT");
      return await done;
    },
  };
}

/** Uses an entry as kubectl does: TLS to the port, checked against the entry's authority and name. */
async function ask(port: number, ca: string, servername: string): Promise<string> {
  return await new Promise((resolve, reject) => {
    const asked = request({ host: "127.0.0.1", port, ca, servername, path: "/version", agent: false });
    asked.once("error", reject);
    asked.once("response", (response) => text(response).then(resolve, reject));
    asked.end();
  });
}

/** Asks as a client does that knows no server names: it sends none, and checks the certificate for the address. */
async function askByAddress(port: number, ca: string): Promise<string> {
  return await new Promise((resolve, reject) => {
    const options = { host: "127.0.0.1", port, ca, servername: "", checkServerIdentity: () => undefined };
    const asked = request({ ...options, path: "/version", agent: false });
    asked.once("error", reject);
    asked.once("response", (response) => text(response).then(resolve, reject));
    asked.end();
  });
}

/** The ports of a kubeconfig's clusters, in its order. */
function portsOf(kubeconfig: string): readonly number[] {
  const { clusters } = parse(kubeconfig);
  return clusters.map(({ cluster }: { cluster: { server: string } }) => Number(new URL(cluster.server).port));
}

const OTHERS = `apiVersion: v1
clusters:
- cluster:
    server: https://10.0.0.1:6443
  name: office
contexts:
- context:
    cluster: office
    user: jane
  name: office
current-context: office
kind: Config
users:
- name: jane
  user:
    token: secret # of mine
`;

test("while it runs kubectl's own file leads to the cluster, and afterwards it is as it was", async () => {
  const { home, relay, cli } = await stage();
  const { authority, serverName } = await relay.addCluster("prod");
  await mkdir(join(home, ".kube"));
  await writeFile(join(home, ".kube/config"), OTHERS, { mode: 0o600 });
  const proxy = await running(cli(), "-n", "prod");
  const kubeconfig = parse(await readFile(join(home, ".kube/config"), "utf8"));
  expect(kubeconfig["current-context"]).toBe("prod");
  expect(kubeconfig.clusters[1].cluster.server).toBe(`https://127.0.0.1:${proxy.port}`);
  expect(await ask(proxy.port, authority.pem, serverName)).toBe('{"gitVersion":"v1.36.3"}');
  expect(await proxy.stop()).toBe(0);
  expect(await readFile(join(home, ".kube/config"), "utf8")).toBe(OTHERS);
});

test("a kubeconfig that was not there before is gone afterwards", async () => {
  const { home, relay, cli } = await stage();
  await relay.addCluster("prod");
  const path = join(home, "new.yaml");
  const proxy = await running(cli(), "-n", "prod", "-f", path);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  await proxy.stop();
  await expect(stat(path)).rejects.toMatchObject({ code: "ENOENT" });
});

test("KUBECONFIG is honoured, and --keep leaves the context", async () => {
  const { home, relay } = await stage();
  await relay.addCluster("prod");
  const path = join(home, "mine.yaml");
  const env = {
    KUBECONFIG: `/nowhere:${path}`,
    CLUSTER_CONNECT_RELAY: relay.url,
    CLUSTER_CONNECT_TOKEN: unsignedToken(),
    CLUSTER_CONNECT_RELAY_TOKEN: unsignedToken(),
  };
  const proxy = await running(testCli(home, { env }), "-n", "prod", "--keep", "--kube-context", "shop");
  await proxy.stop();
  expect(parse(await readFile(path, "utf8")).contexts[0].name).toBe("shop");
});

test("-f - prints the kubeconfig alone on standard output", async () => {
  const { relay, cli } = await stage();
  await relay.addCluster("prod");
  const proxy = await running(cli(), "-n", "prod", "-f", "-");
  expect(parse(proxy.cli.out()).contexts[0].name).toBe("prod");
  await proxy.stop();
});

test("several clusters share a port and are told apart by their server names", async () => {
  const { relay, cli } = await stage();
  const one = await relay.addCluster("one");
  const two = await relay.addCluster("two");
  two.answer = { status: 200, body: { gitVersion: "v2.0.0" } };
  const proxy = await running(cli(), "-n", "one", "-n", "two", "-f", "-");
  expect(await ask(proxy.port, one.authority.pem, one.serverName)).toContain("v1.36.3");
  expect(await ask(proxy.port, two.authority.pem, two.serverName)).toContain("v2.0.0");
  await expect(ask(proxy.port, one.authority.pem, "three.test")).rejects.toThrow("unrecognized name");
  await proxy.cli.said("this port serves");
  await proxy.stop();
});

test("each of several clusters has a port of its own for clients without server names", async () => {
  const { relay, cli } = await stage();
  const one = await relay.addCluster("one");
  const two = await relay.addCluster("two");
  two.answer = { status: 200, body: { gitVersion: "v2.0.0" } };
  const proxy = await running(cli(), "-n", "one", "-n", "two", "-f", "-");
  const ports = portsOf(proxy.cli.out());
  expect(new Set([proxy.port, ...ports]).size).toBe(3);
  const [first = 0, second = 0] = ports;
  expect(await askByAddress(first, one.authority.pem)).toContain("v1.36.3");
  expect(await askByAddress(second, two.authority.pem)).toContain("v2.0.0");
  expect(await ask(second, two.authority.pem, two.serverName)).toContain("v2.0.0");
  // The name does not lead elsewhere: the port alone decides, and the certificate is checked by the client.
  await expect(ask(first, two.authority.pem, two.serverName)).rejects.toThrow();
  await expect(askByAddress(proxy.port, one.authority.pem)).rejects.toThrow("unrecognized name");
  expect(proxy.cli.err()).toContain(`two        127.0.0.1:${second}\n`);
  expect(await proxy.stop()).toBe(0);
  await expect(askByAddress(second, two.authority.pem)).rejects.toThrow("ECONNREFUSED");
});

test("with a port that was chosen, clusters keep theirs from one proxy to the next, and none is an entry's", async () => {
  const { home, relay, cli } = await stage();
  await relay.addCluster("one");
  await relay.addCluster("two");
  const probe = await running(cli(), "-n", "one", "-f", "-");
  const { port } = probe;
  await probe.stop();
  const serve = async (): Promise<{ readonly ports: readonly number[]; readonly ready: unknown }> => {
    const path = join(home, "ready");
    const proxy = await running(
      cli(),
      "-n",
      "one",
      "-n",
      "two",
      "-f",
      "-",
      "--port",
      String(port),
      "--ready-file",
      path,
    );
    const ready: unknown = JSON.parse(await readFile(path, "utf8"));
    const ports = portsOf(proxy.cli.out());
    await proxy.stop();
    return { ports, ready };
  };
  const first = await serve();
  expect(first.ready).toMatchObject({ port, contexts: ["one", "two"], ports: first.ports });
  const again = await serve();
  expect(again.ports).toEqual(first.ports);
  const added = cli();
  const own = ["--port", String(first.ports[1]), "-f", join(home, "kept")];
  expect(await added.run("kubeconfig", "add", "-n", "two", ...own)).toBe(0);
  const [one, two] = (await serve()).ports;
  expect(one).toBe(first.ports[0]);
  expect(two).not.toBe(first.ports[1]);
});

test("at its end the agent is told that open connections are over, and does not keep them for its return", async () => {
  const { relay, cli } = await stage();
  const cluster = await relay.addCluster("prod");
  cluster.keepsStreams = true;
  const proxy = await running(cli(), "-n", "prod", "-f", "-");
  const { pem } = cluster.authority;
  const socket = connect({ host: "127.0.0.1", port: proxy.port, ca: pem, servername: cluster.serverName });
  socket.on("error", () => {});
  await once(socket, "secureConnect");
  expect(relay.keptStreams).toBeGreaterThan(0);
  await proxy.stop();
  await expect.poll(() => relay.sessions.size).toBe(0);
  expect(relay.keptStreams).toBe(0);
});

test("the ready file appears only after the cluster answered, and goes at the end", async () => {
  const { home, relay, cli } = await stage();
  await relay.addCluster("prod");
  const path = join(home, "ready");
  const proxy = await running(cli(), "-n", "prod", "-f", "-", "--ready-file", path);
  expect(JSON.parse(await readFile(path, "utf8"))).toMatchObject({ port: proxy.port, contexts: ["prod"] });
  await proxy.stop();
  await expect(stat(path)).rejects.toMatchObject({ code: "ENOENT" });
});

test("an agent that goes offline later is explained on the screen, and the client is told by an alert", async () => {
  const { relay, cli } = await stage();
  const cluster = await relay.addCluster("prod");
  const proxy = await running(cli(), "-n", "prod", "-f", "-");
  cluster.rejection = "CC_AGENT_OFFLINE";
  await expect(ask(proxy.port, cluster.authority.pem, cluster.serverName)).rejects.toThrow("alert internal error");
  await proxy.cli.said("prod: refused in the test (CC_AGENT_OFFLINE)");
  await proxy.cli.said("Run `cluster-connect clusters`");
  await proxy.stop();
});

test("an agent that goes away while connections are open is explained, and so is its return", async () => {
  const { relay, cli } = await stage();
  const cluster = await relay.addCluster("prod");
  cluster.keepsStreams = true;
  const proxy = await running(cli(), "-n", "prod", "-f", "-");
  const socket = connect({
    port: proxy.port,
    ca: cluster.authority.pem,
    servername: cluster.serverName,
    host: "127.0.0.1",
  });
  await once(socket, "secureConnect");
  cluster.rejection = "CC_AGENT_OFFLINE";
  relay.cut();
  await proxy.cli.said("prod: the agent that holds open connections is not connected; they wait for it for up to 60 s");
  cluster.rejection = undefined;
  await proxy.cli.said("prod: the agent is back, and open connections go on");
  socket.destroy();
  await proxy.stop();
});

test("a relay that goes away is explained, and the port works again when it is back", async () => {
  const { relay, cli } = await stage();
  const cluster = await relay.addCluster("prod");
  const proxy = await running(cli(), "-n", "prod", "-f", "-");
  await relay.stop();
  await proxy.cli.said(`The channel to ${relay.host} was lost`);
  await expect(ask(proxy.port, cluster.authority.pem, cluster.serverName)).rejects.toThrow();
  await proxy.cli.said("No channel to the relay:");
  await relay.start();
  await proxy.cli.said(`The channel to ${relay.host} is back`);
  expect(await ask(proxy.port, cluster.authority.pem, cluster.serverName)).toContain("v1.36.3");
  await proxy.stop();
});

test("a cluster seen for the first time shows its fingerprint; a changed authority stops everything", async () => {
  const { relay, cli } = await stage();
  const cluster = await relay.addCluster("prod");
  const first = await running(cli(), "-n", "prod", "-f", "-");
  expect(first.cli.err()).toMatch(/prod is seen for the first time.*\n {2}([0-9A-F]{2}:){31}[0-9A-F]{2}\nCompare it/);
  await first.stop();
  const second = await running(cli(), "-n", "prod", "-f", "-");
  expect(second.cli.err()).not.toContain("first time");
  await second.stop();
  cluster.announced = (await createAuthority()).pem;
  const third = cli();
  expect(await third.run("proxy", "-n", "prod", "--port", "0", "-f", "-")).toBe(42);
  expect(third.err()).toContain("The certificate authority of prod changed: it was ");
  const fingerprint = /clusters trust -n prod --fingerprint (\S+)/.exec(third.err())?.[1] ?? "";
  const trust = cli();
  expect(await trust.run("clusters", "trust", "-n", "prod", "--fingerprint", "AA:BB")).toBe(2);
  const other = "AB".repeat(32);
  expect(await trust.run("clusters", "trust", "-n", "prod", "--fingerprint", other)).toBe(42);
  expect(await trust.run("clusters", "trust", "-n", "prod", "--fingerprint", fingerprint)).toBe(0);
});

test("a certificate that the accepted authority did not sign is refused, whatever the relay says", async () => {
  const { relay, cli } = await stage();
  const cluster = await relay.addCluster("prod");
  cluster.announced = (await createAuthority()).pem;
  const one = cli();
  expect(await one.run("proxy", "-n", "prod", "--port", "0", "-f", "-")).toBe(42);
  expect(one.err()).toContain("prod shows a certificate that its accepted authority did not sign");
  expect(cluster.tokens).toEqual([]);
});

test("a further authority that is announced is told but not trusted", async () => {
  const { relay, cli } = await stage();
  const cluster = await relay.addCluster("prod");
  const first = await running(cli(), "-n", "prod", "-f", "-");
  await first.stop();
  const next = await createAuthority();
  cluster.announced = cluster.authority.pem + next.pem;
  const second = await running(cli(), "-n", "prod", "-f", "-");
  expect(second.cli.err()).toContain("prod announces a further authority, which is not trusted yet");
  const data = parse(second.cli.out()).clusters[0].cluster["certificate-authority-data"];
  expect(Buffer.from(data, "base64").toString().match(/BEGIN/g)).toHaveLength(1);
  await second.stop();
});

test("a port in use is told before the kubeconfig is touched", async () => {
  const { home, relay, cli } = await stage();
  await relay.addCluster("prod");
  const first = await running(cli(), "-n", "prod", "-f", "-");
  const second = cli();
  const path = join(home, "config");
  expect(await second.run("proxy", "-n", "prod", "--port", String(first.port), "-f", path)).toBe(65);
  expect(second.err()).toContain(`Port ${first.port} is in use by process ${process.pid}`);
  await expect(stat(path)).rejects.toMatchObject({ code: "ENOENT" });
  await first.stop();
});

test("a kubeconfig that cannot be used is told before the relay is asked", async () => {
  const { home, relay, cli } = await stage();
  const path = join(home, "config");
  await writeFile(path, "clusters: [");
  const one = cli();
  expect(await one.run("proxy", "-n", "prod", "-f", path)).toBe(63);
  expect(one.err()).toContain(`${path} is no kubeconfig: line 1 is not YAML`);
  expect(relay.tokens).toEqual([]);
});

test("Ctrl-C while it is being opened ends it and leaves nothing", async () => {
  const { home, relay, cli } = await stage();
  const cluster = await relay.addCluster("prod");
  cluster.rejection = "CC_AGENT_OFFLINE";
  const one = cli();
  const path = join(home, "config");
  const done = one.run("proxy", "-n", "prod", "--port", "0", "-f", path, "--wait", "5m");
  await expect.poll(() => relay.sessions.size, { timeout: 5_000 }).toBe(1);
  one.signals.emit("SIGTERM");
  expect(await done).toBe(130);
  await expect(stat(path)).rejects.toMatchObject({ code: "ENOENT" });
});

test("no cluster, and one name for several contexts, are usage errors", async () => {
  const { cli } = await stage();
  const one = cli();
  expect(await one.run("proxy")).toBe(2);
  expect(one.err()).toContain("No cluster is named (CC_USAGE)");
  expect(await one.run("proxy", "-n", "a", "-n", "b", "--kube-context", "c")).toBe(2);
  expect(await one.run("proxy", "-n", "a", "--port", "70000")).toBe(2);
  expect(one.err()).toContain("A port is a number from 0 to 65535. (CC_USAGE)");
});
