import { once } from "node:events";
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { type Program, startProgram } from "../support/program.ts";
import { startRelay, type TestRelay } from "../support/relay.ts";
import { unsignedToken } from "../support/tokens.ts";

interface Stage {
  readonly home: string;
  readonly path: string;
  readonly relay: TestRelay;
  proxy(...flags: readonly string[]): Promise<Program>;
  run(...argv: readonly string[]): Program;
  context(): Promise<{ current: string; port: number | undefined; contexts: readonly string[] }>;
  folders(): Promise<readonly string[]>;
}

const OTHERS = `apiVersion: v1
contexts:
- context:
    cluster: office
    user: jane
  name: office
current-context: office
kind: Config
`;

async function stage(): Promise<Stage> {
  const home = await temporaryFolder();
  const path = join(home, "config");
  await writeFile(path, OTHERS);
  const relay = await startRelay();
  const env = {
    HOME: home,
    TMPDIR: home,
    KUBECONFIG: path,
    CLUSTER_CONNECT_RELAY: relay.url,
    CLUSTER_CONNECT_TOKEN: unsignedToken(),
    CLUSTER_CONNECT_RELAY_TOKEN: unsignedToken(),
  };
  return {
    home,
    path,
    relay,
    run: (...argv) => startProgram({ ...env, ...relay.trusted() }, ...argv),
    async proxy(...flags) {
      const program = startProgram({ ...env, ...relay.trusted() }, "proxy", "--port", "0", ...flags);
      await program.said("Ctrl-C ends it");
      return program;
    },
    async context() {
      const value = parse(await readFile(path, "utf8"));
      const server: string = value.clusters?.[0]?.cluster.server ?? "";
      return {
        current: value["current-context"],
        port: server === "" ? undefined : Number(new URL(server).port),
        contexts: value.contexts.map(({ name }: { readonly name: string }) => name),
      };
    },
    folders: async () => await readdir(join(home, ".local/state/cluster-connect/proxies")).catch(() => []),
  };
}

async function end(program: Program, signal: NodeJS.Signals = "SIGINT"): Promise<void> {
  program.child.kill(signal);
  await program.ended;
}

test("what a killed proxy left is taken out by the next start, and the former context returns in the end", async () => {
  const { relay, proxy, path, context, folders } = await stage();
  await relay.addCluster("prod");
  await relay.addCluster("test");
  const killed = await proxy("-n", "prod");
  await end(killed, "SIGKILL");
  expect(await context()).toMatchObject({ current: "prod" });
  expect(await folders()).toHaveLength(1);
  const next = await proxy("-n", "test");
  expect(await context()).toMatchObject({ current: "test", contexts: ["office", "test"] });
  expect(await folders()).toHaveLength(1);
  await end(next);
  expect(parse(await readFile(path, "utf8"))).toMatchObject({
    "current-context": "office",
    contexts: [{ name: "office" }],
  });
  expect(await folders()).toEqual([]);
});

test("status cleans up after a killed proxy, and a file that the proxy made goes with it", async () => {
  const { home, relay, run, proxy } = await stage();
  await relay.addCluster("prod");
  const path = join(home, "own.yaml");
  const killed = await proxy("-n", "prod", "-f", path);
  await end(killed, "SIGKILL");
  const { code, err } = await run("status").ended;
  expect({ code, err }).toEqual({ code: 0, err: expect.stringContaining("No proxy is running.") });
  await expect(stat(path)).rejects.toMatchObject({ code: "ENOENT" });
});

test("two proxies for one cluster: the one that stays gets the context back", async () => {
  const { relay, proxy, context, path } = await stage();
  await relay.addCluster("prod");
  const first = await proxy("-n", "prod");
  const { port: firstPort } = await context();
  const second = await proxy("-n", "prod");
  const { port: secondPort } = await context();
  expect(secondPort).not.toBe(firstPort);
  await end(second);
  expect(await context()).toMatchObject({ current: "prod", port: firstPort });
  await end(first);
  expect(parse(await readFile(path, "utf8"))).toMatchObject({
    "current-context": "office",
    contexts: [{ name: "office" }],
  });
});

test("the one that was overwritten may end first", async () => {
  const { relay, proxy, context } = await stage();
  await relay.addCluster("prod");
  const first = await proxy("-n", "prod");
  const second = await proxy("-n", "prod");
  const { port } = await context();
  await end(first);
  expect(await context()).toMatchObject({ current: "prod", port });
  await end(second);
  expect(await context()).toMatchObject({ current: "office", contexts: ["office"] });
});

test("twenty proxies for three clusters that start at once are all ready, and leave nothing", async () => {
  const { relay, proxy, path, folders } = await stage();
  for (const id of ["one", "two", "three"]) await relay.addCluster(id);
  const names = ["one", "two", "three"];
  const all = await Promise.all(Array.from({ length: 20 }, (_, index) => proxy("-n", names[index % 3] ?? "one")));
  expect(all.map(({ child }) => child.exitCode)).toEqual(all.map(() => null));
  const during = parse(await readFile(path, "utf8"));
  expect(during.contexts.map(({ name }: { readonly name: string }) => name).sort()).toEqual([
    "office",
    "one",
    "three",
    "two",
  ]);
  await Promise.all(all.map((program) => end(program)));
  expect(parse(await readFile(path, "utf8"))).toMatchObject({
    "current-context": "office",
    contexts: [{ name: "office" }],
  });
  expect(await folders()).toEqual([]);
});

test("a folder with a token of a killed proxy is removed even when it was killed before it was ready", async () => {
  const { home, relay, run, proxy, folders } = await stage();
  const cluster = await relay.addCluster("prod");
  cluster.rejection = "CC_AGENT_OFFLINE";
  const opening = run("proxy", "-n", "prod", "--port", "0", "--wait", "5m");
  // The folder tells whose it is as soon as this file is there.
  const files = (): Promise<readonly string[]> =>
    readdir(join(home, ".local/state/cluster-connect/proxies"), { recursive: true }).catch(() => []);
  await expect.poll(files).toContainEqual(expect.stringMatching(/^proxy-\w+.process$/));
  opening.child.kill("SIGKILL");
  await once(opening.child, "exit");
  cluster.rejection = undefined;
  const next = await proxy("-n", "prod");
  expect(await folders()).toHaveLength(1);
  await end(next);
});
