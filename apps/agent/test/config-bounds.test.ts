import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { loadAgentConfig } from "../src/config.ts";

/** Whether the setting may have the value, all others being right. */
async function isTaken(path: string, value: unknown): Promise<boolean> {
  const file = join(await temporaryFolder(), "agent.yaml");
  const settings = {
    relay: { urls: ["https://relay.example.com"] },
    stateDir: "/state",
    authProxy: { address: "/run/a.sock", healthUrl: "http://127.0.0.1:8081", authoritiesFile: "/ca.crt" },
  };
  const [group = "", name] = path.split(".");
  const before = Object.entries(settings).find(([key]) => key === group)?.[1];
  const setting = name === undefined ? value : Object.assign({}, before, { [name]: value });
  await writeFile(file, JSON.stringify({ ...settings, [group]: setting }));
  const error = await loadAgentConfig({ file, env: {} }).then(
    () => undefined,
    (problem: unknown) => problem,
  );
  if (error === undefined) return true;
  expect(error).toMatchObject({ code: "CC_CONFIG_INVALID", message: expect.stringContaining(`${path}: `) });
  return false;
}

test.each([
  { path: "relay.tunnels", least: 1, most: 16 },
  { path: "health.port", least: 0, most: 65_535 },
  { path: "resumeGraceSeconds", least: 0, most: 86_400 },
  { path: "drainSeconds", least: 0, most: 3_600 },
])("$path is taken from $least to $most, and not one beyond", async ({ path, least, most }) => {
  expect(await isTaken(path, least - 1)).toBe(false);
  expect(await isTaken(path, least)).toBe(true);
  expect(await isTaken(path, most)).toBe(true);
  expect(await isTaken(path, most + 1)).toBe(false);
});
