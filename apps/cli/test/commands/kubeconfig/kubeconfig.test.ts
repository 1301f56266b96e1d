import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, onTestFinished, test } from "vitest";
import { parse } from "yaml";
import { createAuthority } from "../../support/certificates.ts";
import { type Program, type ProgramEnd, startProgram } from "../../support/program.ts";
import { startRelay, type TestRelay } from "../../support/relay.ts";
import { unsignedToken } from "../../support/tokens.ts";

interface Stage {
  readonly home: string;
  readonly path: string;
  readonly relay: TestRelay;
  start(...argv: readonly string[]): Program;
  run(...argv: readonly string[]): Promise<ProgramEnd>;
  /** The file's entry for a context: its port and how kubectl gets a credential. */
  entry(context: string): Promise<{ port: number; exec: readonly string[]; namespace?: string } | undefined>;
  current(): Promise<string | undefined>;
  /** Starts the credential plugin as kubectl does. */
  plugin(context: string): Promise<ProgramEnd>;
  running(): Promise<readonly { readonly pid: number; readonly port: number }[]>;
}

interface Named<T> {
  readonly name: string;
  readonly value: T;
}

async function stage(): Promise<Stage> {
  const home = await temporaryFolder();
  const path = join(home, "config");
  const relay = await startRelay();
  await relay.addCluster("prod");
  const env = {
    HOME: home,
    TMPDIR: home,
    KUBECONFIG: path,
    CLUSTER_CONNECT_RELAY: relay.url,
    CLUSTER_CONNECT_TOKEN: unsignedToken(),
    CLUSTER_CONNECT_RELAY_TOKEN: unsignedToken(),
  };
  const start = (...argv: readonly string[]): Program => startProgram({ ...env, ...relay.trusted() }, ...argv);
  const run = (...argv: readonly string[]): Promise<ProgramEnd> => start(...argv).ended;
  onTestFinished(async () => void (await run("stop", "--all")));
  const entry: Stage["entry"] = async (context) => {
    const config = parse(await readFile(path, "utf8"));
    const named = (list: readonly { readonly name: string }[], name: string): Named<never> | undefined =>
      Object(list.find((item) => item.name === name));
    const found = Object(named(config.contexts, context)).context;
    if (found === undefined) return undefined;
    const { server } = Object(named(config.clusters, found.cluster)).cluster;
    const { exec } = Object(named(config.users, found.user)).user;
    return { port: Number(new URL(server).port), exec: exec.args, namespace: found.namespace };
  };
  return {
    home,
    path,
    relay,
    start,
    run,
    entry,
    current: async () => parse(await readFile(path, "utf8"))["current-context"],
    plugin: async (context) => {
      const { exec = [] } = (await entry(context)) ?? {};
      return await run(...exec.slice(exec.indexOf("credential")));
    },
    running: async () => JSON.parse((await run("status", "-o", "json")).out).proxies,
  };
}

test("an entry needs no proxy that runs: the credential starts it on the entry's port, once for many", async () => {
  const { run, entry, plugin, running, relay } = await stage();
  expect((await run("kubeconfig", "add", "-n", "prod")).code).toBe(0);
  expect(await running()).toEqual([]);
  const { port = 0, exec } = (await entry("prod")) ?? {};
  expect(exec).toEqual(expect.arrayContaining(["credential", "--relay", relay.url, "--name", "prod", "--port"]));
  const asked = await Promise.all([1, 2, 3, 4, 5].map(() => plugin("prod")));
  expect(asked.map(({ code, err }) => [code, err])).toEqual(asked.map(() => [0, ""]));
  for (const { out } of asked) expect(JSON.parse(out)).toMatchObject({ kind: "ExecCredential" });
  const proxies = await running();
  expect(proxies).toMatchObject([{ port, kubeconfig: null }]);
  await plugin("prod");
  expect(await running()).toEqual(proxies);
});

test("a proxy that was killed is started again by the next credential, on the same port", async () => {
  const { run, entry, plugin, running } = await stage();
  await run("kubeconfig", "add", "-n", "prod");
  await plugin("prod");
  const [first] = await running();
  process.kill(first?.pid ?? 0, "SIGKILL");
  expect((await plugin("prod")).code).toBe(0);
  const [second] = await running();
  expect(second).toMatchObject({ port: (await entry("prod"))?.port });
  expect(second?.pid).not.toBe(first?.pid);
});

test("adding the same again changes nothing, and keeps port, context and namespace", async () => {
  const { path, run, entry } = await stage();
  await run("kubeconfig", "add", "-n", "prod", "--kube-context", "live");
  await writeFile(path, (await readFile(path, "utf8")).replace(/^( *)user: /m, "$1namespace: mine\n$1user: "));
  const before = await entry("live");
  expect(before?.namespace).toBe("mine");
  expect((await run("kubeconfig", "add", "-n", "prod")).code).toBe(0);
  expect(await entry("live")).toEqual(before);
  expect(await entry("prod")).toBeUndefined();
});

test("an entry's version of the exec API stays when it is added again, until another is asked for", async () => {
  const { path, run } = await stage();
  const version = async (): Promise<string> =>
    /client\.authentication\.k8s\.io\/\w+/.exec(await readFile(path, "utf8"))?.[0] ?? "";
  await run("kubeconfig", "add", "-n", "prod", "--exec-api-version", "v1beta1");
  expect(await version()).toBe("client.authentication.k8s.io/v1beta1");
  await run("kubeconfig", "add", "-n", "prod");
  expect(await version()).toBe("client.authentication.k8s.io/v1beta1");
  expect(await readFile(path, "utf8")).toContain("--exec-api-version");
  await run("kubeconfig", "add", "-n", "prod", "--exec-api-version", "v1");
  expect(await version()).toBe("client.authentication.k8s.io/v1");
  expect(await readFile(path, "utf8")).not.toContain("--exec-api-version");
});

test("a port that somebody else has by then is told with its holder and a way out", async () => {
  const { run, entry, plugin } = await stage();
  await run("kubeconfig", "add", "-n", "prod");
  const other = createServer();
  other.listen((await entry("prod"))?.port, "127.0.0.1");
  await once(other, "listening");
  onTestFinished(() => void other.close());
  const { code, out, err } = await plugin("prod");
  expect([code, out]).toEqual([65, ""]);
  expect(err).toContain("kubeconfig's entry of prod needs it (CC_PORT_IN_USE)");
  expect(err).toContain("cluster-connect kubeconfig add -n prod --port PORT");
});

test("what keeps the cluster from answering is told as if the proxy were in the foreground", async () => {
  const { relay, run, plugin } = await stage();
  const cluster = await relay.addCluster("far");
  await run("kubeconfig", "add", "-n", "far");
  cluster.rejection = "CC_CLUSTER_UNKNOWN";
  const { code, err } = await plugin("far");
  expect(code).toBe(4);
  expect(err).toContain("CC_CLUSTER_UNKNOWN");
});

test("a proxy in the foreground takes the context over, and gives it back with its namespace", async () => {
  const { path, run, start, entry, current } = await stage();
  await run("kubeconfig", "add", "-n", "prod");
  await writeFile(path, (await readFile(path, "utf8")).replace(/^( *)user: /m, "$1namespace: mine\n$1user: "));
  const kept = await entry("prod");
  const proxy = start("proxy", "-n", "prod", "--port", "0");
  await proxy.said("Ctrl-C ends it");
  expect((await entry("prod"))?.port).not.toBe(kept?.port);
  expect(JSON.parse((await run("kubeconfig", "list", "-o", "json")).out).entries).toMatchObject([
    { state: "replaced" },
  ]);
  proxy.child.kill("SIGINT");
  await proxy.ended;
  expect(await entry("prod")).toEqual(kept);
  expect(await current()).toBe("prod");
});

test("a foreground proxy that was killed leaves the entry to be repaired by the next command", async () => {
  const { run, start, entry, current } = await stage();
  await run("kubeconfig", "add", "-n", "prod");
  const kept = await entry("prod");
  const proxy = start("proxy", "-n", "prod", "--port", "0");
  await proxy.said("Ctrl-C ends it");
  proxy.child.kill("SIGKILL");
  await proxy.ended;
  await run("status");
  expect(await entry("prod")).toEqual(kept);
  expect(await current()).toBe("prod");
});

test("removing takes the entry out, ends its proxy, and the former context is current again", async () => {
  const { path, run, plugin, running } = await stage();
  const mine =
    "apiVersion: v1\nkind: Config\ncontexts:\n- name: own\n  context:\n    cluster: own\ncurrent-context: own\n";
  await writeFile(path, mine);
  await run("kubeconfig", "add", "-n", "prod");
  await plugin("prod");
  expect((await run("kubeconfig", "list")).out).toMatch(/^prod +prod +\d+ +running +\S+config +http/m);
  const removed = await run("kubeconfig", "remove", "-n", "prod");
  expect(removed.err).toBe(`Removed prod from ${path}.\n`);
  expect(parse(await readFile(path, "utf8"))).toMatchObject({ ...parse(mine), clusters: [], users: [] });
  expect(await running()).toEqual([]);
  expect((await run("kubeconfig", "remove", "-n", "prod")).err).toContain(
    "has no entry of ours for prod (CC_CLUSTER_UNKNOWN)",
  );
});

test("entries in several files share a port, and the proxy lives until the last is removed", async () => {
  const { home, run, plugin, running } = await stage();
  const other = join(home, "other");
  await run("kubeconfig", "add", "-n", "prod");
  await run("kubeconfig", "add", "-n", "prod", "-f", other);
  const { entries } = JSON.parse((await run("kubeconfig", "list", "-o", "json")).out);
  expect(new Set(entries.map(({ port }: { readonly port: number }) => port)).size).toBe(1);
  await plugin("prod");
  await run("kubeconfig", "remove", "-n", "prod", "-f", other);
  expect(await running()).toHaveLength(1);
  await run("kubeconfig", "remove", "--all");
  expect(await running()).toEqual([]);
  expect((await run("kubeconfig", "list")).err).toContain("There is no entry.");
});

test("clusters get different ports, also when they are added at the same time", async () => {
  const { relay, run } = await stage();
  const names = ["a", "b", "c", "d"];
  for (const name of names) await relay.addCluster(name);
  await Promise.all(names.map((name) => run("kubeconfig", "add", "-n", name)));
  const { entries } = JSON.parse((await run("kubeconfig", "list", "-o", "json")).out);
  expect(new Set(entries.map(({ port }: { readonly port: number }) => port)).size).toBe(4);
});

test("a token that is given as text is not written into an entry", async () => {
  const { run } = await stage();
  const { code, err } = await run("kubeconfig", "add", "-n", "prod", "--token", unsignedToken());
  expect(code).toBe(2);
  expect(err).toContain("A token that is given as text cannot stay in an entry (CC_USAGE)");
});

test("an entry says where this tool's folders are, so that kubectl works from any shell", async () => {
  const home = await temporaryFolder();
  const relay = await startRelay();
  await relay.addCluster("prod");
  const path = join(home, "config");
  const tokens = { CLUSTER_CONNECT_TOKEN: unsignedToken(), CLUSTER_CONNECT_RELAY_TOKEN: unsignedToken() };
  const folders = { XDG_CONFIG_HOME: join(home, "c"), XDG_STATE_HOME: join(home, "s") };
  const own = { HOME: home, KUBECONFIG: path, CLUSTER_CONNECT_RELAY: relay.url };
  const env = { ...own, ...relay.trusted(), ...tokens, ...folders };
  expect((await startProgram(env, "kubeconfig", "add", "-n", "prod").ended).code).toBe(0);
  const [user] = parse(await readFile(path, "utf8")).users;
  expect(user.user.exec.env).toEqual(Object.entries(folders).map(([name, value]) => ({ name, value })));
});

test("a new authority that is trusted goes into the entries, too", async () => {
  const { path, relay, run } = await stage();
  const cluster = await relay.addCluster("moved");
  await run("kubeconfig", "add", "-n", "moved");
  const authority = await createAuthority();
  cluster.announced = authority.pem;
  const { out } = await run("clusters", "trust", "-n", "moved");
  const fingerprint = /^announced {2}(\S+)$/m.exec(out)?.[1] ?? "";
  const { code, err } = await run("clusters", "trust", "-n", "moved", "--fingerprint", fingerprint);
  expect({ code, err }).toMatchObject({
    code: 0,
    err: expect.stringContaining("The entry moved is up to date with it."),
  });
  const text = await readFile(path, "utf8");
  expect(text).toContain(Buffer.from(authority.pem).toString("base64"));
});

test("audiences that a person names stay in the entry, for kubectl and for the proxy that it starts", async () => {
  const { run, entry, plugin, home } = await stage();
  const file = join(home, "token");
  await writeFile(file, unsignedToken({ aud: "https://k8s.test/prod" }), { mode: 0o600 });
  const flags = ["--relay-audience", "https://relay.test", "--cluster-audience", "https://k8s.test/{cluster}"];
  expect((await run("kubeconfig", "add", "-n", "prod", "--token-file", file, ...flags)).code).toBe(0);
  expect((await entry("prod"))?.exec.join(" ")).toContain(flags.join(" "));
  expect((await plugin("prod")).code).toBe(0);
  // The token of another cluster would go to it otherwise.
  await writeFile(file, unsignedToken({ aud: "https://k8s.test/staging" }));
  const { code, err } = await plugin("prod");
  expect([code, err]).toEqual([34, expect.stringContaining("is for https://k8s.test/staging instead")]);
});
