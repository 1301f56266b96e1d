import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseAuthenticationConfiguration } from "@cluster-connect/auth";
import { createMemoryLogSink, settingPaths } from "@cluster-connect/service/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import { loadProxyConfig } from "../src/config.ts";
import { runAuthProxy } from "../src/run.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "config-"));
});
afterEach(() => rm(folder, { recursive: true }));

async function load(yaml: string, env: Readonly<Record<string, string>> = {}): ReturnType<typeof loadProxyConfig> {
  const file = join(folder, "config.yaml");
  await writeFile(file, yaml);
  return loadProxyConfig({ file, env });
}

test("the example and the issuers it names are valid", async () => {
  const file = join(import.meta.dirname, "../../../examples/auth-proxy.yaml");
  const config = await loadProxyConfig({ file, env: { KUBERNETES_SERVICE_HOST: "10.0.0.1" } });
  expect(config).toMatchObject({ clusterId: "prod", impersonation: { allowAs: false }, selfCheck: true });
  const { issuers } = parseAuthenticationConfiguration(await readFile(config.authenticationConfig, "utf8"));
  expect(issuers.map(({ audiences }) => audiences)).toEqual([["https://kubernetes.example.com"]]);
});

test("in a pod the id and the issuers' file are enough", async () => {
  const env = { KUBERNETES_SERVICE_HOST: "fd00::1", KUBERNETES_SERVICE_PORT: "6443" };
  expect(await load("clusterId: demo\nauthenticationConfig: issuers.yaml\n", env)).toMatchObject({
    clusterId: "demo",
    authenticationConfig: join(folder, "issuers.yaml"),
    listen: { socket: "/run/cluster-connect/auth-proxy.sock" },
    upstream: { url: "https://[fd00::1]:6443", tokenFile: "/var/run/secrets/kubernetes.io/serviceaccount/token" },
    impersonation: { mode: "auto", allowAs: false, extraDomain: "connect.cluster-connect.io" },
    tokenReview: { enabled: false },
    longStreams: { onExpiry: "end" },
    selfCheck: true,
  });
});

test("the environment wins over the file", async () => {
  const yaml = "clusterId: demo\nauthenticationConfig: i\nupstream: { url: https://a }\n";
  const env = { CC_UPSTREAM_URL: "https://b", CC_LISTEN_SOCKET: "/s", CC_IMPERSONATION_ALLOW_AS: "true" };
  expect(await load(yaml, env)).toMatchObject({
    upstream: { url: "https://b" },
    listen: { socket: "/s" },
    impersonation: { allowAs: true },
  });
});

test("every problem is named in one error", async () => {
  const yaml = "clusterId: Demo!\nupstream: { url: 'http://a' }\nimpersonation: { mode: none }\nunknown: 1\n";
  const error = await load(yaml).then(
    () => expect.fail("the settings were taken"),
    (reason: unknown) => reason,
  );
  expect(error).toMatchObject({ code: "CC_CONFIG_INVALID" });
  for (const word of ["clusterId", "authenticationConfig", "upstream.url", "impersonation.mode", "unknown"]) {
    expect(String(error)).toContain(word);
  }
});

test("the README lists every setting", async () => {
  const readme = await readFile(join(import.meta.dirname, "../README.md"), "utf8");
  const config = await load("clusterId: demo\nauthenticationConfig: i\nupstream: { url: https://a }\n");
  const paths = [...settingPaths(config), "publishCaPath", "tracing.endpoint", "listen.port", "listen.proxyProtocol"];
  expect(paths.length).toBeGreaterThan(30);
  expect(paths.filter((path) => !new RegExp(`\`${path}(\\[\\])?\``).test(readme))).toEqual([]);
});

test("outside a pod the apiserver's address has to be given", async () => {
  await expect(load("clusterId: demo\nauthenticationConfig: i\n")).rejects.toMatchObject({
    code: "CC_CONFIG_INVALID",
    message: expect.stringContaining("upstream.url"),
  });
});

const ISSUERS = `apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer: { url: https://issuer.example, audiences: [a] }
  claimMappings: { username: { claim: sub, prefix: "x:" } }
`;

async function runWith(
  argv: readonly string[],
): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
  const lines: { out: string; err: string } = { out: "", err: "" };
  const code = await runAuthProxy(argv, {
    env: {},
    signals: process,
    logs: createMemoryLogSink(),
    stdout: (line) => {
      lines.out += line;
    },
    stderr: (line) => {
      lines.err += line;
    },
  });
  return { code, ...lines };
}

test("--check-config reads the settings and the issuers and says that they are right", async () => {
  const file = join(folder, "config.yaml");
  await writeFile(file, "clusterId: demo\nauthenticationConfig: issuers.yaml\nupstream: { url: https://a }\n");
  await writeFile(join(folder, "issuers.yaml"), ISSUERS);
  expect(await runWith(["--config", file, "--check-config"])).toMatchObject({
    code: 0,
    err: "The settings are valid.",
  });
});

test.each([
  ["a file that is not there", "", 61, "CC_FILE_MISSING"],
  ["a file that is no configuration", "kind: Pod", 60, "CC_CONFIG_INVALID"],
])("--check-config names %s with an exit code of its own", async (_what, issuers, code, word) => {
  const file = join(folder, "config.yaml");
  await writeFile(file, "clusterId: demo\nauthenticationConfig: issuers.yaml\nupstream: { url: https://a }\n");
  if (issuers !== "") await writeFile(join(folder, "issuers.yaml"), issuers);
  const result = await runWith(["--config", file, "--check-config"]);
  expect(result.code).toBe(code);
  expect(result.err).toContain(word);
});

test("authority --help and --check-config make no authority", async () => {
  const file = join(folder, "config.yaml");
  const stateDir = join(folder, "state");
  const settings = `clusterId: demo\nauthenticationConfig: issuers.yaml\nupstream: { url: https://a }\nstateDir: ${stateDir}\n`;
  await writeFile(file, settings);
  const usage = expect.stringMatching(/^Usage: /);
  expect(await runWith(["authority", "--config", file, "--help"])).toEqual({ code: 0, out: usage, err: "" });
  const valid = { code: 0, out: "", err: "The settings are valid." };
  expect(await runWith(["authority", "--config", file, "--check-config"])).toEqual(valid);
  expect(existsSync(stateDir)).toBe(false);
});

test("a wrong flag is a usage error, --help and --version are not", async () => {
  expect(await runWith(["--version"])).toMatchObject({
    code: 0,
    out: expect.stringMatching(/auth-proxy.*[0-9]+\.[0-9]+\.[0-9]+/),
  });
  expect((await runWith(["--nonsense"])).code).toBe(2);
  expect(await runWith(["--help"])).toMatchObject({ code: 0, out: expect.stringContaining("--check-config") });
});
