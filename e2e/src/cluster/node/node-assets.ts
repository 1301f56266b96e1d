import { join } from "node:path";
import { ConnectError } from "@cluster-connect/protocol";
import type { Keeper } from "../../process/keeper.ts";
import type { Progress } from "../../process/progress.ts";
import { type FillFolder, findBuild } from "../binaries/assets.ts";
import { NODE } from "../binaries/build.ts";
import { cacheRoot, fillOnce } from "../binaries/cache-folder.ts";
import { isExecutable } from "../binaries/find-executable.ts";
import { KUBERNETES_VERSION } from "../binaries/versions.ts";

/** The programs of a node. */
export interface NodeAssets {
  readonly kubelet: string;
  readonly kubeProxy: string;
}

/** Dependencies of the search for a node's programs. */
export interface NodeAssetsDeps {
  readonly env: NodeJS.ProcessEnv;
  readonly progress: Progress;
  /** How to build with Go; undefined where there is none. */
  readonly findBuild: () => Promise<FillFolder | undefined>;
}

const FOLDER = `${KUBERNETES_VERSION}-node`;

async function inFolder(folder: string): Promise<NodeAssets | undefined> {
  const found = { kubelet: join(folder, "kubelet"), kubeProxy: join(folder, "kube-proxy") };
  const both = (await isExecutable(found.kubelet)) && (await isExecutable(found.kubeProxy));
  return both ? found : undefined;
}

/**
 * Finds kubelet and kube-proxy: in `KUBEBUILDER_ASSETS`, in the cache, else built with Go, once.
 *
 * No published archive holds them.
 *
 * @throws ConnectError `CC_KUBERNETES_UNAVAILABLE` when there is no Go, or the build fails.
 */
export async function findNodeAssets(
  options: { readonly signal: AbortSignal },
  deps: NodeAssetsDeps,
): Promise<NodeAssets> {
  const { env, progress } = deps;
  const named = env["KUBEBUILDER_ASSETS"];
  const parent = join(cacheRoot(env), "kubernetes");
  const found = (named ? await inFolder(named) : undefined) ?? (await inFolder(join(parent, FOLDER)));
  if (found !== undefined) return found;
  const build = await deps.findBuild();
  if (build === undefined) {
    throw new ConnectError("CC_KUBERNETES_UNAVAILABLE", "There is no Go to build kubelet and kube-proxy with", {
      hint: "Install Go 1.26 or newer, or set KUBEBUILDER_ASSETS to a folder that holds both.",
    });
  }
  const onWait = (): void => progress.line("kubelet and kube-proxy: another process is building them, waiting");
  const isComplete = async (): Promise<boolean> => (await inFolder(join(parent, FOLDER))) !== undefined;
  const folder = await fillOnce(
    parent,
    FOLDER,
    { signal: options.signal, onWait },
    { isComplete, fill: (temporary) => build(temporary, options.signal) },
  );
  const made = await inFolder(folder);
  if (made !== undefined) return made;
  throw new ConnectError("CC_KUBERNETES_UNAVAILABLE", `${folder} lacks kubelet or kube-proxy after it was made`);
}

/** The real ways to get the programs on this machine. */
export function nodeAssetsDeps(
  options: { readonly signal: AbortSignal },
  deps: { readonly env: NodeJS.ProcessEnv; readonly progress: Progress; readonly keeper: Keeper },
): NodeAssetsDeps {
  return { env: deps.env, progress: deps.progress, findBuild: () => findBuild(NODE, options, deps) };
}
