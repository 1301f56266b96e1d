import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse } from "yaml";
import { type RunResult, runToEnd } from "../../src/process/run-to-end.ts";
import type { Cli } from "../../src/stack/cli.ts";
import { addClusters } from "../support/relays/more-clusters.ts";
import { NO_END, useStack } from "../support/stack.ts";

const suite = useStack();
const NAMES = ["demo", "second", "third"];
const STARTS = 20;
let removeClusters: () => Promise<void> = async () => {};
let cli: Cli;

beforeAll(async () => {
  const more = await addClusters(suite(), NAMES.slice(1));
  removeClusters = more.remove;
  cli = await suite().stack.cli("viewer", more.authorities);
  await cli.login("viewer", "browser");
});

afterAll(async () => {
  await cli?.run(["stop", "--all"]);
  await removeClusters();
});

const homeFile = (name: string): string => join(cli.env["HOME"] ?? "", name);

function kubectl(kubeconfig: string, ...args: readonly string[]): Promise<RunResult> {
  return runToEnd(suite().tools.kubectl, args, { env: { ...cli.env, KUBECONFIG: kubeconfig }, signal: NO_END });
}

test("twenty starts at the same time, for three clusters, in one kubeconfig, are all ready", async () => {
  const kubeconfigPath = homeFile("twenty.kubeconfig");
  const from = performance.now();
  const names = Array.from({ length: STARTS }, (_, index) => NAMES[index % NAMES.length] ?? "demo");
  const proxies = await Promise.all(names.map((name) => cli.proxy([name], { kubeconfigPath })));
  process.stderr.write(`${STARTS} starts were ready after ${Math.round(performance.now() - from)} ms\n`);
  expect(new Set(proxies.map(({ port }) => port)).size).toBe(STARTS);
  for (const name of NAMES) {
    expect(await kubectl(kubeconfigPath, "--context", name, "get", "namespaces", "-o", "name")).toMatchObject({
      code: 0,
    });
  }
  const listed = await cli.run(["status", "-o", "json"]);
  expect(JSON.parse(listed.stdout).proxies).toHaveLength(STARTS);
  await Promise.all(proxies.map((proxy) => proxy.stop()));
  await expect(readFile(kubeconfigPath)).rejects.toMatchObject({ code: "ENOENT" });
});

test("an entry of kubeconfig add serves many kubectl at once, and the first starts what they need", async () => {
  const kubeconfig = homeFile("kept.kubeconfig");
  const added = await cli.run(["kubeconfig", "add", "-n", "second", "-n", "third", "-f", kubeconfig]);
  expect(added).toMatchObject({ code: 0, stdout: "" });
  const asked = await Promise.all(
    Array.from({ length: 8 }, () => kubectl(kubeconfig, "--context", "third", "auth", "whoami", "-o", "name")),
  );
  expect(asked.map(({ code, stderr }) => [code, stderr])).toEqual(asked.map(() => [0, ""]));
  const before = JSON.parse((await cli.run(["status", "-o", "json"])).stdout).proxies;
  expect(before).toMatchObject([{ clusters: ["third"] }]);
  process.kill(before[0].pid, "SIGKILL");
  expect(await kubectl(kubeconfig, "--context", "third", "get", "namespaces", "-o", "name")).toMatchObject({ code: 0 });
  const after = JSON.parse((await cli.run(["status", "-o", "json"])).stdout).proxies;
  expect(after).toMatchObject([{ port: before[0].port }]);
  expect(await cli.run(["kubeconfig", "remove", "--all"])).toMatchObject({ code: 0 });
  expect(JSON.parse((await cli.run(["status", "-o", "json"])).stdout).proxies).toEqual([]);
  expect(parse(await readFile(kubeconfig, "utf8")).contexts).toEqual([]);
});

test("a port that is busy is told with the process that has it", async () => {
  const proxy = await cli.proxy(["demo"]);
  const second = await cli.run([
    "proxy",
    "-n",
    "demo",
    "--port",
    String(proxy.port),
    "-f",
    homeFile("busy.kubeconfig"),
  ]);
  expect(second.code).toBe(65);
  expect(second.stderr).toContain(`Port ${proxy.port} is in use by process ${proxy.program.pid} (node `);
  await proxy.stop();
});

test("kubectl finds the program as its plugin", async () => {
  const bin = homeFile("bin");
  await mkdir(bin);
  const [node, ...args] = cli.command;
  await writeFile(join(bin, "kubectl-cluster_connect"), `#!/bin/sh\nexec ${node} ${args.join(" ")} "$@"\n`, {
    mode: 0o755,
  });
  const env = { ...cli.env, PATH: `${bin}:${cli.env["PATH"]}:/usr/bin:/bin` };
  const listed = await runToEnd(suite().tools.kubectl, ["cluster-connect", "clusters", "-o", "name"], {
    env,
    signal: NO_END,
  });
  expect(listed).toMatchObject({ code: 0, stdout: `${NAMES.join("\n")}\n` });
});
