import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { settingPaths } from "@cluster-connect/service/testing";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { loadRelayConfig } from "../src/config.ts";

const EXAMPLE = join(import.meta.dirname, "../../../examples/relay.yaml");

async function problemsOf(text: string): Promise<string> {
  const file = join(await temporaryFolder(), "relay.yaml");
  await writeFile(file, text);
  const error = await loadRelayConfig({ file, env: {} }).catch((problem: unknown) => problem);
  expect(error).toMatchObject({ code: "CC_CONFIG_INVALID" });
  return error instanceof Error ? error.message : "";
}

test("the example is valid", async () => {
  const config = await loadRelayConfig({ file: EXAMPLE, env: {} });
  expect(config.publicUrl.host).toBe("relay.example.com");
  expect(config.grants[0]).toMatchObject({ clusters: ["*"] });
  expect(config.login?.audiences.relay).not.toBe(config.login?.audiences.cluster);
});

test("three settings are enough, and they may come from the environment", async () => {
  const env = { CC_PUBLIC_URL: "http://127.0.0.1:8443", CC_DATA_DIR: "/data", CC_AUTHENTICATION_CONFIG: "auth.yaml" };
  await expect(loadRelayConfig({ env })).resolves.toMatchObject({
    listen: { host: "127.0.0.1", port: 8443 },
    grants: [],
    drainSeconds: 30,
    probe: { intervalSeconds: 15, timeoutSeconds: 5 },
  });
});

test("the README lists every setting", async () => {
  const readme = await readFile(join(import.meta.dirname, "../README.md"), "utf8");
  const config = await loadRelayConfig({ file: EXAMPLE, env: {} });
  const optional = ["store.sqlite", "store.postgres.url", "grantsDir", "webhook.url", "webhook.secretFile"];
  const further = [
    "audit.retentionDays",
    "audit.file",
    "audit.webhook.url",
    "audit.seal.keyFile",
    "metrics.host",
    "metrics.port",
    "peers",
  ];
  const limits = ["limits.bytesPerSecondPerCaller", "limits.bytesPerSecondPerCluster", "agents.perKey"];
  const paths = [...settingPaths(config), ...optional, ...further, ...limits, "tracing.endpoint"];
  expect(paths.length).toBeGreaterThan(45);
  // The settings below `login` are listed by their own names.
  const named = (path: string): boolean => new RegExp(`\`${path.replace(/^login\./, "")}(\\[\\])?\``).test(readme);
  expect(paths.filter((path) => !named(path))).toEqual([]);
});

test("every problem is named at once", async () => {
  const problems = await problemsOf(`
listen: { port: 70000 }
publicUrl: https://relay.example.com/path
grants: [{ clusters: [Prod], expiresAt: tomorrow }, { groups: [a] }]
trustedProxies: [10.0.0.0/33]
tls: { certFile: a }
passwort: hunter2
`);
  for (const path of [
    "listen.port: ",
    "publicUrl: expected a scheme, a host and perhaps a port, nothing else",
    "dataDir: ",
    "authenticationConfig: ",
    "grants[0].clusters[0]: expected a cluster id or *",
    "grants[0].expiresAt: ",
    "grants[1].clusters: ",
    "trustedProxies[0]: expected an address or network",
    "tls.keyFile: ",
    "passwort: no such setting",
  ]) {
    expect(problems).toContain(path);
  }
  expect(problems).not.toContain("hunter2");
});
