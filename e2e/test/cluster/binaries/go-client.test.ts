import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import type { FillFolder } from "../../../src/cluster/binaries/assets.ts";
import { findGoClient } from "../../../src/cluster/binaries/go-client.ts";
import { SILENT } from "../../../src/process/progress.ts";

const options = { signal: new AbortController().signal };

const build =
  (name: string): FillFolder =>
  async (folder) => {
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, name), "#!/bin/sh\n", { mode: 0o755 });
  };

test("the client is built once, then found", async () => {
  let built = 0;
  const deps = {
    env: { XDG_CACHE_HOME: await temporaryFolder() },
    progress: SILENT,
    findBuild: async () => {
      built += 1;
      return build("client");
    },
  };
  const path = await findGoClient(options, deps);
  expect(path).toMatch(/\/client-[0-9a-f]{12}\/client$/);
  expect(await findGoClient(options, deps)).toBe(path);
  expect(built).toBe(1);
});

test("a machine without Go is told what to install, and a build that made nothing is an error", async () => {
  const env = { XDG_CACHE_HOME: await temporaryFolder() };
  const without = { env, progress: SILENT, findBuild: async () => undefined };
  await expect(findGoClient(options, without)).rejects.toMatchObject({ code: "CC_KUBERNETES_UNAVAILABLE" });
  const empty = { env, progress: SILENT, findBuild: async () => build("other") };
  await expect(findGoClient(options, empty)).rejects.toThrow("is missing after it was made");
});
