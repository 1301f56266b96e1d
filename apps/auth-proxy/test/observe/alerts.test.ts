import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { createFixture } from "../support/fixture.ts";

const RULES = new URL("../../../../deploy/auth-proxy/prometheus-rules.yaml", import.meta.url);

test("every metric that an alert asks about exists", async () => {
  await using fixture = await createFixture();
  const known = [...(await fixture.metrics.text()).matchAll(/^# HELP (\S+)/gm)].map(([, name]) => name);
  const asked = [...(await readFile(RULES, "utf8")).matchAll(/cluster_connect_[a-z_]+/g)].map(([name]) => name);
  expect(asked.length).toBeGreaterThan(0);
  for (const name of asked) expect(known).toContain(name);
});
