import { rm } from "node:fs/promises";
import { join } from "node:path";
import { ConnectError } from "@cluster-connect/protocol";
import type { Keeper } from "../../process/keeper.ts";
import type { Progress } from "../../process/progress.ts";
import { type BuildStep, buildAssets, CONTROL_PLANE, canBuild } from "./build.ts";
import { cacheRoot, fillOnce } from "./cache-folder.ts";
import { downloadAssets } from "./download.ts";
import { findExecutable, isExecutable } from "./find-executable.ts";
import { ENVTEST_VERSION, KUBERNETES_VERSION } from "./versions.ts";

/** The programs of a control plane; without the last two it serves, but nothing is reconciled or scheduled. */
export interface Assets {
  readonly origin: "environment" | "cache" | "built" | "downloaded";
  readonly folder: string;
  readonly etcd: string;
  readonly apiserver: string;
  readonly controllerManager: string | undefined;
  readonly scheduler: string | undefined;
}

/** Puts the programs into an empty folder. */
export type FillFolder = (folder: string, signal: AbortSignal) => Promise<void>;

/** Dependencies of the search for a control plane's programs. */
export interface AssetsDeps {
  readonly env: NodeJS.ProcessEnv;
  readonly progress: Progress;
  /** How to build with Go; undefined where there is none. Asked only when nothing is there yet: Go itself leaves files. */
  readonly findBuild: () => Promise<FillFolder | undefined>;
  readonly download: FillFolder;
}

type Origin = Assets["origin"];

async function inFolder(folder: string, origin: Origin): Promise<Assets | undefined> {
  const path = async (name: string): Promise<string | undefined> =>
    (await isExecutable(join(folder, name))) ? join(folder, name) : undefined;
  const etcd = await path("etcd");
  const apiserver = await path("kube-apiserver");
  if (etcd === undefined || apiserver === undefined) return undefined;
  const controllerManager = await path("kube-controller-manager");
  const scheduler = await path("kube-scheduler");
  return { origin, folder, etcd, apiserver, controllerManager, scheduler };
}

async function fromEnvironment(folder: string): Promise<Assets> {
  const assets = await inFolder(folder, "environment");
  if (assets !== undefined) return assets;
  throw new ConnectError("CC_KUBERNETES_UNAVAILABLE", `KUBEBUILDER_ASSETS=${folder} lacks etcd or kube-apiserver`, {
    hint: "Correct or unset KUBEBUILDER_ASSETS, then repeat the command.",
  });
}

async function made(
  version: string,
  origin: Origin,
  fill: FillFolder,
  options: { readonly signal: AbortSignal },
  deps: AssetsDeps,
): Promise<Assets> {
  const parent = join(cacheRoot(deps.env), "kubernetes");
  const onWait = (): void => deps.progress.line(`Kubernetes ${version}: another process is getting it, waiting`);
  const isComplete = async (): Promise<boolean> => (await inFolder(join(parent, version), origin)) !== undefined;
  const folder = await fillOnce(
    parent,
    version,
    { signal: options.signal, onWait },
    {
      isComplete,
      fill: (temporary) => fill(temporary, options.signal),
    },
  );
  const assets = await inFolder(folder, origin);
  if (assets !== undefined) return assets;
  throw new ConnectError("CC_KUBERNETES_UNAVAILABLE", `${folder} lacks etcd or kube-apiserver after it was made`);
}

/**
 * Finds the programs of a control plane: `KUBEBUILDER_ASSETS`, the cache, a build with Go, a download.
 *
 * @throws ConnectError `CC_KUBERNETES_UNAVAILABLE` when none of the ways works; the message names the last one.
 */
export async function findAssets(options: { readonly signal: AbortSignal }, deps: AssetsDeps): Promise<Assets> {
  const named = deps.env["KUBEBUILDER_ASSETS"];
  if (named) return fromEnvironment(named);
  const cache = join(cacheRoot(deps.env), "kubernetes");
  const built = await inFolder(join(cache, KUBERNETES_VERSION), "cache");
  if (built !== undefined) return built;
  const build = await deps.findBuild();
  if (build !== undefined) {
    try {
      return await made(KUBERNETES_VERSION, "built", build, options, deps);
    } catch (error) {
      if (options.signal.aborted || !(error instanceof ConnectError)) throw error;
      deps.progress.line(`${error.message}; trying the published archive instead`);
    }
  }
  const downloaded = await inFolder(join(cache, ENVTEST_VERSION), "cache");
  return downloaded ?? made(ENVTEST_VERSION, "downloaded", deps.download, options, deps);
}

/** How to build the programs with this machine's Go; undefined where there is none that is new enough. */
export async function findBuild(
  steps: readonly BuildStep[],
  options: { readonly signal: AbortSignal },
  deps: { readonly env: NodeJS.ProcessEnv; readonly progress: Progress; readonly keeper: Keeper },
): Promise<FillFolder | undefined> {
  const { env, keeper } = deps;
  const go = await findExecutable("go", env);
  if (go === undefined || !(await canBuild(go, env, options.signal))) return undefined;
  return async (folder, signal) => {
    keeper.ownFolder(folder); // gone by then when it was renamed into the cache
    await buildAssets(folder, steps, { signal }, { go, ...deps });
    await rm(join(folder, ".source"), { recursive: true, force: true });
  };
}

/** The real ways to get the programs on this machine. */
export function assetsDeps(
  options: { readonly signal: AbortSignal },
  deps: { readonly env: NodeJS.ProcessEnv; readonly progress: Progress; readonly keeper: Keeper },
): AssetsDeps {
  const { env, progress } = deps;
  return {
    env,
    progress,
    findBuild: () => findBuild(CONTROL_PLANE, options, deps),
    download: (folder, signal) =>
      downloadAssets(folder, { signal }, { env, platform: process.platform, arch: process.arch, fetch, progress }),
  };
}
