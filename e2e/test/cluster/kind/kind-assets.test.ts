import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import type { FillFolder } from "../../../src/cluster/binaries/assets.ts";
import { KIND } from "../../../src/cluster/binaries/build.ts";
import { findKindAssets, type KindAssetsDeps } from "../../../src/cluster/kind/kind-assets.ts";
import { SILENT } from "../../../src/process/progress.ts";

const options = { signal: new AbortController().signal };
const NAMES = KIND.map(({ binary }) => binary);

async function machine(fill: FillFolder | undefined): Promise<KindAssetsDeps & { readonly built: () => number }> {
  let built = 0;
  const counted: FillFolder = async (folder, signal) => {
    built++;
    await fill?.(folder, signal);
  };
  return {
    env: { XDG_CACHE_HOME: await temporaryFolder() },
    progress: SILENT,
    findBuild: async () => (fill === undefined ? undefined : counted),
    built: () => built,
  };
}

const build =
  (names: readonly string[]): FillFolder =>
  async (folder) => {
    await mkdir(folder, { recursive: true });
    for (const name of names) await writeFile(join(folder, name), "#!/bin/sh\n", { mode: 0o755 });
  };

test("kind and what its node image needs are built once, then found", async () => {
  const deps = await machine(build(NAMES));
  const paths = await findKindAssets(options, deps);
  expect(paths.map((path) => path.split("/").at(-1))).toEqual(["kind", "kubeadm", "kubectl", "coredns"]);
  expect(await findKindAssets(options, deps)).toEqual(paths);
  expect(deps.built()).toBe(1);
});

test("a machine without Go is told what to install", async () => {
  const found = findKindAssets(options, await machine(undefined));
  await expect(found).rejects.toMatchObject({
    code: "CC_KUBERNETES_UNAVAILABLE",
    message: "There is no Go to build kind and kubeadm with",
  });
});

test("a build that leaves a program out is an error", async () => {
  const found = findKindAssets(options, await machine(build(NAMES.slice(1))));
  await expect(found).rejects.toThrow("lacks a program after it was made");
});
