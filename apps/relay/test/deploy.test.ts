import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createMetrics } from "@cluster-connect/service";
import { expect, test } from "vitest";
import { z } from "zod";
import { startFixture } from "./support/fixture.ts";
import { temporaryFolder } from "./support/folder.ts";

const deploy = (name: string): Promise<string> =>
  readFile(new URL(`../../../deploy/relay/${name}`, import.meta.url), "utf8");

/** Names that a relay with everything switched on has. */
async function metricNames(): Promise<ReadonlySet<string>> {
  const secretFile = join(await temporaryFolder(), "secret");
  await writeFile(secretFile, "s");
  const webhook = { url: "http://127.0.0.1:1/", secretFile };
  const fixture = await startFixture({ config: { webhook, tracing: { endpoint: "http://127.0.0.1:1" } } });
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
