import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { loadRelayConfig } from "../src/config.ts";

const NEEDED = { publicUrl: "http://127.0.0.1:8443", dataDir: "/data", authenticationConfig: "auth.yaml" };

/** Whether the setting may have the value, all others being right. */
async function isTaken(path: string, value: unknown): Promise<boolean> {
  const file = join(await temporaryFolder(), "relay.yaml");
  const setting = path.split(".").reduceRight((inner: unknown, name) => ({ [name]: inner }), value);
  await writeFile(file, JSON.stringify(Object.assign({}, NEEDED, setting)));
  const error = await loadRelayConfig({ file, env: {} }).then(
    () => undefined,
    (problem: unknown) => problem,
  );
  if (error === undefined) return true;
  expect(error).toMatchObject({ code: "CC_CONFIG_INVALID", message: expect.stringContaining(`${path}: `) });
  return false;
}

test.each([
  { path: "listen.port", least: 0, most: 65_535, step: 1 },
  { path: "metrics.port", least: 0, most: 65_535, step: 1 },
  { path: "probe.intervalSeconds", least: 0.1, most: 3_600, step: 0.01 },
  { path: "probe.timeoutSeconds", least: 0.1, most: 60, step: 0.01 },
  { path: "agents.perKey", least: 1, most: 1_000, step: 1 },
  { path: "audit.maxBehind", least: 10, most: 10_000_000, step: 1 },
  { path: "audit.retentionDays", least: 1, most: 36_500, step: 1 },
  { path: "storeOutageSeconds", least: 0, most: 86_400, step: 1 },
  { path: "drainSeconds", least: 0, most: 3_600, step: 1 },
])("$path is taken from $least to $most, and not beyond", async ({ path, least, most, step }) => {
  expect(await isTaken(path, least - step)).toBe(false);
  expect(await isTaken(path, least)).toBe(true);
  expect(await isTaken(path, most)).toBe(true);
  expect(await isTaken(path, most + step)).toBe(false);
});
