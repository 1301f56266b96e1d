import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { createMetrics } from "@cluster-connect/service";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { z } from "zod";
import { AUDIT_SCHEMA } from "../src/audit/open.ts";
import { alertTests } from "./support/alert-tests.ts";
import { startFixture } from "./support/fixture.ts";

const deployPath = (name: string): string => join(import.meta.dirname, "../../../deploy/relay", name);
const deploy = (name: string): Promise<string> => readFile(deployPath(name), "utf8");

/** Names that a relay with everything switched on has. */
async function metricNames(): Promise<ReadonlySet<string>> {
  const secretFile = join(await temporaryFolder(), "secret");
  await writeFile(secretFile, "s");
  const webhook = { url: "http://127.0.0.1:1/", secretFile };
  const audit = AUDIT_SCHEMA.parse({ seal: { key: "s".repeat(32) } });
  const fixture = await startFixture({ config: { webhook, audit, tracing: { endpoint: "http://127.0.0.1:1" } } });
  const own = await (await fetch(new URL("/metrics", fixture.url))).text();
  const process = await createMetrics({ service: "relay", process: true }).text();
  const types = [...`${own}\n${process}`.matchAll(/^# TYPE (\S+) (\S+)$/gm)];
  return new Set(types.flatMap(([, name = "", type]) => (type === "histogram" ? [name, `${name}_bucket`] : [name])));
}

test.each(["prometheus-rules.yaml", "grafana-dashboard.json"])("every metric in %s exists", async (file) => {
  const names = await metricNames();
  const used = [...(await deploy(file)).matchAll(/\b(?:cluster_connect|nodejs|process)_[a-z0-9_]+/g)].map(
    ([name]) => name,
  );
  expect(used.length).toBeGreaterThan(8);
  expect(used.filter((name) => !names.has(name))).toEqual([]);
});

const run = promisify(execFile);

/** Name of a test that needs a program of Debian's package. */
function needing(program: string, packageName: string, name: string): readonly [boolean, string] {
  const folders = (process.env["PATH"] ?? "").split(delimiter);
  const missing = !folders.some((folder) => existsSync(join(folder, program)));
  return [missing, missing ? `${name}: ${program} is not installed (Debian's package ${packageName})` : name];
}

const [noPromtool, alertsName] = needing("promtool", "prometheus", "alerts fire when they have to, and only then");
test.skipIf(noPromtool)(alertsName, async () => {
  const file = join(await temporaryFolder(), "alerts.json");
  await writeFile(file, JSON.stringify(alertTests(deployPath("prometheus-rules.yaml"))));
  await expect(run("promtool", ["test", "rules", file])).resolves.toMatchObject({
    stdout: expect.stringContaining("SUCCESS"),
  });
});

test.skipIf(noPromtool)(alertsName.replace(/^[^:]*/, "every query of the dashboard is one"), async () => {
  const text = await deploy("grafana-dashboard.json");
  const known = text.replaceAll("$__rate_interval", "5m").replaceAll("$instance", ".*");
  const found = z.object({ panels: z.array(z.object({ targets: z.array(z.object({ expr: z.string() })) })) });
  const queries = found.parse(JSON.parse(known)).panels.flatMap(({ targets }) => targets);
  const rules = queries.map(({ expr }, index) => ({ record: `query_${index}`, expr }));
  const file = join(await temporaryFolder(), "queries.json");
  await writeFile(file, JSON.stringify({ groups: [{ name: "dashboard", rules }] }));
  const { stdout } = await run("promtool", ["check", "rules", file]);
  expect(stdout).toContain(`SUCCESS: ${queries.length} rules found`);
});

const [noAnalyze, unitName] = needing("systemd-analyze", "systemd", "systemd knows every option of the unit");
test.skipIf(noAnalyze)(unitName, async () => {
  // It looks for the program, too.
  const text = (await deploy("cluster-connect-relay.service")).replaceAll(
    "/usr/bin/cluster-connect-relay",
    "/bin/true",
  );
  const file = join(await temporaryFolder(), "cluster-connect-relay.service");
  await writeFile(file, text);
  expect(await run("systemd-analyze", ["verify", file])).toEqual({ stdout: "", stderr: "" });
  const offline = ["--offline=true", "--threshold=20"];
  await expect(run("systemd-analyze", ["security", ...offline, file])).resolves.toBeDefined();
});

test("what an audit's sink lost is counted from 0 on, so that the first loss is an increase", async () => {
  const file = join(await temporaryFolder(), "audit.jsonl");
  const fixture = await startFixture({ config: { audit: { file, whenFull: "drop", maxBehind: 1_000 } } });
  const text = await (await fetch(new URL("/metrics", fixture.url))).text();
  expect(text).toMatch(/^cluster_connect_audit_sink_dropped_total\{.*sink="file".*\} 0$/m);
});

test("each panel of the dashboard has a title, a place and queries", async () => {
  const panel = z.looseObject({
    title: z.string().min(1),
    gridPos: z.object({ x: z.int(), y: z.int(), w: z.int(), h: z.int() }),
    targets: z.array(z.looseObject({ expr: z.string().min(1) })).min(1),
  });
  z.object({ panels: z.array(panel).min(10) }).parse(JSON.parse(await deploy("grafana-dashboard.json")));
});

test("metrics have a port of their own when the settings say so, and the public one none", async () => {
  const fixture = await startFixture({ config: { metrics: { host: "127.0.0.1", port: 0 } } });
  expect((await fetch(new URL("/metrics", fixture.url))).status).toBe(404);
  expect(fixture.relay.metricsAddress).toMatchObject({ address: "127.0.0.1" });
  const port = fixture.relay.metricsAddress?.port;
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  expect(text).toContain("cluster_connect_tunnels");
  expect((await fetch(`http://127.0.0.1:${port}/healthz`)).status).toBe(200);
});
