import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ConnectError } from "@cluster-connect/protocol";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { type AssetsDeps, type FillFolder, findAssets } from "../../../src/cluster/binaries/assets.ts";
import { ENVTEST_VERSION, KUBERNETES_VERSION } from "../../../src/cluster/binaries/versions.ts";

const signal = new AbortController().signal;
const ALL = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];
const SOME = ["etcd", "kube-apiserver"];

const fillWith =
  (names: readonly string[]): FillFolder =>
  async (folder) => {
    await mkdir(folder, { recursive: true });
    for (const name of names) await writeFile(join(folder, name), "#!/bin/sh\n", { mode: 0o755 });
  };

const unexpected: FillFolder = async () => {
  throw new Error("nothing was to be built or fetched");
};

async function setUp(
  changes: Partial<AssetsDeps> = {},
): Promise<AssetsDeps & { readonly lines: string[]; readonly cache: string }> {
  const home = await temporaryFolder();
  const lines: string[] = [];
  return {
    env: { XDG_CACHE_HOME: home },
    progress: { line: (text) => lines.push(text), during: (_text, work) => work() },
    findBuild: async () => {
      throw new Error("nobody was to look for Go");
    },
    download: unexpected,
    lines,
    cache: join(home, "cluster-connect", "kubernetes"),
    ...changes,
  };
}

test("KUBEBUILDER_ASSETS comes before the cache, and may lack the controller manager and the scheduler", async () => {
  const deps = await setUp();
  const folder = await temporaryFolder();
  await fillWith(SOME)(folder, signal);
  await fillWith(ALL)(join(deps.cache, KUBERNETES_VERSION), signal);
  const env = { ...deps.env, KUBEBUILDER_ASSETS: folder };
  expect(await findAssets({ signal }, { ...deps, env })).toEqual({
    origin: "environment",
    folder,
    etcd: join(folder, "etcd"),
    apiserver: join(folder, "kube-apiserver"),
    controllerManager: undefined,
    scheduler: undefined,
  });
});

test("a KUBEBUILDER_ASSETS without etcd is an error that names it, not a reason to look elsewhere", async () => {
  const deps = await setUp();
  const folder = await temporaryFolder();
  await fillWith(["kube-apiserver"])(folder, signal);
  const found = findAssets({ signal }, { ...deps, env: { ...deps.env, KUBEBUILDER_ASSETS: folder } });
  await expect(found).rejects.toMatchObject({
    code: "CC_KUBERNETES_UNAVAILABLE",
    message: expect.stringContaining("KUBEBUILDER_ASSETS"),
  });
});

test("the cache comes before a build", async () => {
  const deps = await setUp();
  await fillWith(ALL)(join(deps.cache, KUBERNETES_VERSION), signal);
  expect(await findAssets({ signal }, deps)).toMatchObject({ origin: "cache" });
});

test("a build fills the cache, and the next search finds it there", async () => {
  const deps = await setUp({ findBuild: async () => fillWith(ALL) });
  expect(await findAssets({ signal }, deps)).toMatchObject({
    origin: "built",
    scheduler: join(deps.cache, KUBERNETES_VERSION, "kube-scheduler"),
  });
  expect(await findAssets({ signal }, { ...deps, findBuild: async () => unexpected })).toMatchObject({
    origin: "cache",
  });
});

test("without Go the archive is fetched into a folder of its own version", async () => {
  const deps = await setUp({ findBuild: async () => undefined, download: fillWith(SOME) });
  expect(await findAssets({ signal }, deps)).toMatchObject({
    origin: "downloaded",
    folder: join(deps.cache, ENVTEST_VERSION),
    controllerManager: undefined,
  });
  expect(await findAssets({ signal }, { ...deps, download: unexpected })).toMatchObject({ origin: "cache" });
});

test("a build that fails is told, and the archive is fetched", async () => {
  const build: FillFolder = async () => {
    throw new ConnectError("CC_KUBERNETES_UNAVAILABLE", "go build of etcd failed: no space");
  };
  const deps = await setUp({ findBuild: async () => build, download: fillWith(SOME) });
  expect(await findAssets({ signal }, deps)).toMatchObject({ origin: "downloaded" });
  expect(deps.lines).toEqual([expect.stringContaining("go build of etcd failed")]);
});
