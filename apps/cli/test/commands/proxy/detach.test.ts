import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, onTestFinished, test } from "vitest";
import { parse } from "yaml";
import { type ProgramEnd, startProgram } from "../../support/program.ts";
import { startRelay, type TestRelay } from "../../support/relay.ts";
import { unsignedToken } from "../../support/tokens.ts";

interface Stage {
  readonly path: string;
  readonly relay: TestRelay;
  run(...argv: readonly string[]): Promise<ProgramEnd>;
}

async function stage(): Promise<Stage> {
  const home = await temporaryFolder();
  const path = join(home, "config");
  const relay = await startRelay();
  const env = {
    HOME: home,
    TMPDIR: home,
    KUBECONFIG: path,
    CLUSTER_CONNECT_RELAY: relay.url,
    CLUSTER_CONNECT_TOKEN: unsignedToken(),
    CLUSTER_CONNECT_RELAY_TOKEN: unsignedToken(),
  };
  const run = (...argv: readonly string[]): Promise<ProgramEnd> =>
    startProgram({ ...env, ...relay.trusted() }, ...argv).ended;
  onTestFinished(async () => void (await run("stop", "--all")));
  return { path, relay, run };
}

test("a proxy in the background is ready when the command ends, is listed, logs, and stops", async () => {
  const { path, relay, run } = await stage();
  await relay.addCluster("prod");
  const started = await run("proxy", "-n", "prod", "--port", "0", "--detach");
  expect(started.code).toBe(0);
  expect(started.err).toMatch(/The proxy runs in the background \(process \d+, port \d+\)\.\nContexts: prod\./);
  expect(parse(await readFile(path, "utf8"))["current-context"]).toBe("prod");
  const { out } = await run("status", "-o", "json");
  const [proxy] = JSON.parse(out).proxies;
  expect(proxy).toMatchObject({ clusters: ["prod"], relay: relay.url, contexts: ["prod"], kubeconfig: path });
  expect((await run("wait", "-n", "prod")).code).toBe(0);
  expect((await run("logs")).out).toContain("prod       ready: kube-apiserver v1.36.3");
  const stopped = await run("stop");
  expect(stopped.err).toContain("Ended the proxy to prod");
  await expect(readFile(path, "utf8")).rejects.toMatchObject({ code: "ENOENT" });
  expect((await run("status", "-o", "json")).out).toBe('{\n  "proxies": []\n}\n');
});

test("a second start of the same cluster takes the one that runs, also when both start at once", async () => {
  const { relay, run } = await stage();
  await relay.addCluster("prod");
  const both = await Promise.all([1, 2, 3].map(() => run("proxy", "-n", "prod", "--port", "0", "--detach")));
  expect(both.map(({ code }) => code)).toEqual([0, 0, 0]);
  expect(both.filter(({ err }) => err.includes("was running already"))).toHaveLength(2);
  expect(JSON.parse((await run("status", "-o", "json")).out).proxies).toHaveLength(1);
});

test("what keeps a proxy from starting in the background is told as if it were in the foreground", async () => {
  const { relay, run } = await stage();
  await relay.addCluster("prod");
  const { code, err } = await run("proxy", "-n", "prd", "--port", "0", "--detach");
  expect(code).toBe(4);
  expect(err).toContain("knows no cluster prd that you may reach (CC_CLUSTER_UNKNOWN)\nhint: Did you mean prod?");
});

test("waiting for a proxy that nobody starts ends with the time", async () => {
  const { run } = await stage();
  const { code, err } = await run("wait", "-n", "prod", "--timeout", "0");
  expect(code).toBe(70);
  expect(err).toContain("No proxy to prod is ready after 0 s (CC_TIMEOUT)");
});

test("stop names what is not running and asks which of several is meant", async () => {
  const { relay, run } = await stage();
  await relay.addCluster("one");
  await relay.addCluster("two");
  await Promise.all(["one", "two"].map((name) => run("proxy", "-n", name, "--port", "0", "--detach")));
  expect((await run("stop", "-n", "three")).err).toContain("No proxy to three is running (CC_CLUSTER_UNKNOWN)");
  expect((await run("stop")).err).toContain("2 proxies are running (CC_USAGE)");
  expect((await run("stop", "-n", "one")).code).toBe(0);
  expect((await run("stop")).err).toContain("Ended the proxy to two");
  expect((await run("stop")).err).toBe("No proxy is running.\n");
});
