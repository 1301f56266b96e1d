import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { OLDEST_NODE, tooOldNode } from "../../src/index.ts";

test.each(["24.18.1", "24.18.2", "24.19.0", "25.0.0", "100.0.0"])("Node %s is taken", (version) => {
  expect(tooOldNode(version)).toBeUndefined();
});

test.each(["24.18.0", "24.17.9", "23.99.99", "20.20.2"])("Node %s is refused with what to install", (version) => {
  expect(tooOldNode(version)).toContain(`Node ${version} is too old`);
  expect(tooOldNode(version)).toContain(`Install Node ${OLDEST_NODE}`);
});

test.each(["cli", "relay", "agent", "auth-proxy"])("the engines of %s demand the same Node", (app) => {
  const file = new URL(`../../../../apps/${app}/package.json`, import.meta.url);
  expect(JSON.parse(readFileSync(file, "utf8"))).toMatchObject({ engines: { node: `>=${OLDEST_NODE}` } });
});
