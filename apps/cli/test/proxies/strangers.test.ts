import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, onTestFinished, test } from "vitest";
import { formatProcessId, identifyProcess, type ProcessId } from "../../src/files/process-id.ts";
import { findServing } from "../../src/proxies/select.ts";
import { createProofSecret } from "../../src/proxy/proof.ts";
import { type TestCli, testCli } from "../support/cli.ts";

interface Stage {
  readonly parent: string;
  readonly kubeconfig: string;
  /** A program that has nothing to do with us. */
  readonly stranger: ChildProcess & { readonly pid: number };
  cli(): TestCli;
  record(name: string, process: string, more?: Readonly<Record<string, unknown>>): Promise<void>;
}

const ENTRY = {
  name: "cluster-connect/relay.test/prod",
  context: "prod",
  port: 21_999,
  serverName: "prod.test",
  authorities: "pem",
  credential: { command: "/bin/true", args: [] },
};

async function stage(): Promise<Stage> {
  const home = await temporaryFolder();
  const parent = join(home, ".local/state/cluster-connect/proxies");
  const kubeconfig = join(home, "config");
  const child = spawn("sleep", ["600"], { stdio: "ignore" });
  onTestFinished(() => void child.kill("SIGKILL"));
  await once(child, "spawn");
  return {
    parent,
    kubeconfig,
    stranger: Object.assign(child, { pid: child.pid ?? 0 }),
    cli: () => testCli(home, { env: { KUBECONFIG: kubeconfig } }),
    async record(name, process, more = {}) {
      await mkdir(join(parent, name), { recursive: true });
      const record = {
        process,
        startedAt: "2026-01-01T00:00:00.000Z",
        relay: "https://relay.test",
        clusters: ["prod"],
        port: 21_999,
        proofSecret: createProofSecret(),
        ready: true,
        log: null,
        kubeconfig,
        entries: [ENTRY],
        former: null,
        existed: true,
      };
      await writeFile(join(parent, name, "proxy.json"), JSON.stringify({ ...record, ...more }));
    },
  };
}

const runs = (child: ChildProcess): boolean => child.exitCode === null && child.signalCode === null;

test.each<readonly [string, (id: ProcessId) => ProcessId]>([
  ["of another container", (id) => ({ ...id, namespace: "pid:[1]" })],
  ["of another machine", (id) => ({ ...id, boot: "another", machine: "0".repeat(16) })],
  ["whose start nobody wrote down", (id) => ({ ...id, startedAt: "" })],
])("the number of a process %s is neither listed nor signalled, but told", async (_, change) => {
  const { stranger, record, cli, parent } = await stage();
  await record("proxy-one", formatProcessId(change(identifyProcess(stranger.pid))));
  const status = cli();
  expect(await status.run("status", "-o", "json")).toBe(0);
  expect(JSON.parse(status.out())).toEqual({ proxies: [] });
  expect(status.err()).toContain(
    `A proxy to prod is recorded in ${join(parent, "proxy-one")} by process ${stranger.pid}`,
  );
  const stop = cli();
  expect(await stop.run("stop", "--all")).toBe(0);
  expect(stop.err()).toContain("No proxy is running.");
  expect(await cli().run("stop", "-n", "prod")).not.toBe(0);
  expect(runs(stranger)).toBe(true);
});

test.each<readonly [string, (id: ProcessId) => ProcessId]>([
  ["before the machine was started again", (id) => ({ ...id, boot: "another" })],
  ["and a later process has its number", (id) => ({ ...id, startedAt: "1" })],
])("a proxy that ran %s is cleaned up after, and the process with its number lives on", async (_, change) => {
  const { stranger, record, cli, kubeconfig } = await stage();
  await writeFile(
    kubeconfig,
    `apiVersion: v1
kind: Config
clusters:
- {name: ${ENTRY.name}, cluster: {server: "https://127.0.0.1:21999"}}
contexts:
- {name: prod, context: {cluster: ${ENTRY.name}, user: ${ENTRY.name}}}
current-context: prod
`,
  );
  await record("proxy-one", formatProcessId(change(identifyProcess(stranger.pid))));
  expect(await cli().run("stop", "--all")).toBe(0);
  const status = cli();
  expect(await status.run("status", "-o", "json")).toBe(0);
  expect(status.err()).toBe("");
  expect(await readFile(kubeconfig, "utf8")).not.toContain(ENTRY.name);
  expect(runs(stranger)).toBe(true);
});

test.each([
  ["of another version", JSON.stringify({ process: "1", version: 2 })],
  ["that was cut", '{"process": "12'],
  ["that is no JSON", "\u0000\u0001"],
])("a record %s is told and stops nothing", async (_, text) => {
  const { parent, cli } = await stage();
  await mkdir(join(parent, "proxy-odd"), { recursive: true });
  await writeFile(join(parent, "proxy-odd/proxy.json"), text);
  const status = cli();
  expect(await status.run("status", "-o", "json")).toBe(0);
  expect(status.err()).toContain(`The record in ${join(parent, "proxy-odd")} cannot be read; it is left alone.`);
  expect(await cli().run("stop", "--all")).toBe(0);
});

test("a kubeconfig that cannot be changed keeps nobody from the others", async () => {
  const { record, cli, kubeconfig, parent } = await stage();
  const gone = { ...identifyProcess(process.pid), startedAt: "1" };
  const broken = `${kubeconfig}.broken`;
  await writeFile(broken, "clusters: [");
  await writeFile(kubeconfig, `clusters:\n- {name: ${ENTRY.name}, cluster: {server: "https://127.0.0.1:21999"}}\n`);
  await record("proxy-a", formatProcessId(gone), { kubeconfig: broken });
  await record("proxy-b", formatProcessId(gone));
  const status = cli();
  expect(await status.run("status", "-o", "json")).toBe(0);
  expect(status.err()).toContain(
    `warning: a proxy that was killed is still in a kubeconfig: ${broken} is no kubeconfig`,
  );
  expect(await readFile(kubeconfig, "utf8")).not.toContain(ENTRY.name);
  expect(await readFile(join(parent, "proxy-a/proxy.json"), "utf8")).toContain("prod");
});

test("a proxy that was killed does not bring back the folder of its kubeconfig", async () => {
  const { record, cli, kubeconfig } = await stage();
  const path = `${kubeconfig}.d/usb-stick/config`;
  await record("proxy-a", formatProcessId({ ...identifyProcess(process.pid), startedAt: "1" }), { kubeconfig: path });
  expect(await cli().run("status", "-o", "json")).toBe(0);
  await expect(readFile(path)).rejects.toMatchObject({ code: "ENOENT" });
  await expect(mkdir(join(path, ".."))).rejects.toMatchObject({ code: "ENOENT" });
});

test("a process that runs is not trusted with a port where somebody else listens", async () => {
  const { record, parent } = await stage();
  const server = createServer((socket) => socket.end("hello")).listen(0, "127.0.0.1");
  onTestFinished(() => void server.close());
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  await record("proxy-one", formatProcessId(identifyProcess(process.pid)), { port });
  expect(await findServing(parent, () => true, new AbortController())).toBeUndefined();
});
