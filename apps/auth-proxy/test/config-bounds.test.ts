import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { loadProxyConfig } from "../src/config.ts";
import { DEFAULT_LIMITS } from "../src/limits/limits.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "config-"));
});
afterEach(() => rm(folder, { recursive: true }));

/** Whether the setting may have the value, all others being right. */
async function isTaken(path: string, value: unknown): Promise<boolean> {
  const file = join(folder, "auth-proxy.yaml");
  const setting = path.split(".").reduceRight((inner: unknown, name) => ({ [name]: inner }), value);
  await writeFile(file, JSON.stringify(Object.assign({ clusterId: "a", authenticationConfig: "a.yaml" }, setting)));
  const error = await loadProxyConfig({ file, env: { KUBERNETES_SERVICE_HOST: "10.0.0.1" } }).then(
    () => undefined,
    (problem: unknown) => problem,
  );
  if (error === undefined) return true;
  expect(error).toMatchObject({
    code: "CC_CONFIG_INVALID",
    message: expect.stringContaining(path.split(".")[0] ?? ""),
  });
  return false;
}

test.each([
  ...Object.keys(DEFAULT_LIMITS).map((name) => `limits.${name}`),
  "certificate.caSeconds",
  "certificate.servingSeconds",
  "longStreams.maximumSeconds",
])("%s is one at least, and whole", async (path) => {
  expect(await isTaken(path, 0)).toBe(false);
  expect(await isTaken(path, 1)).toBe(true);
  expect(await isTaken(path, 1.5)).toBe(false);
});

test.each(["health.port", "listen.port"])("%s is taken from 0 to 65535, and not one beyond", async (path) => {
  expect(await isTaken(path, -1)).toBe(false);
  expect(await isTaken(path, 0)).toBe(true);
  expect(await isTaken(path, 65_535)).toBe(true);
  expect(await isTaken(path, 65_536)).toBe(false);
});

test("a drain takes no time at least", async () => {
  expect(await isTaken("drainSeconds", -1)).toBe(false);
  expect(await isTaken("drainSeconds", 0)).toBe(true);
});
