import { join } from "node:path";
import { ConnectError } from "@cluster-connect/protocol";
import type { Keeper } from "../../process/keeper.ts";
import type { Progress } from "../../process/progress.ts";
import { type FillFolder, findBuild } from "../binaries/assets.ts";
import { KIND } from "../binaries/build.ts";
import { cacheRoot, fillOnce } from "../binaries/cache-folder.ts";
import { isExecutable } from "../binaries/find-executable.ts";
import { COREDNS_VERSION, KIND_VERSION, KUBERNETES_VERSION } from "../binaries/versions.ts";

/** Dependencies of the search for kind and its image. */
export interface KindAssetsDeps {
  readonly env: NodeJS.ProcessEnv;
  readonly progress: Progress;
  /** How to build with Go; undefined where there is none. */
  readonly findBuild: () => Promise<FillFolder | undefined>;
}

const FOLDER = `${KUBERNETES_VERSION}-kind-${KIND_VERSION}-coredns-${COREDNS_VERSION}`;

async function allIn(folder: string): Promise<readonly string[] | undefined> {
  const paths = KIND.map(({ binary }) => join(folder, binary));
  const found = await Promise.all(paths.map(isExecutable));
  return found.every(Boolean) ? paths : undefined;
}

/**
 * Finds kind and the programs that its node image needs beside a node's: in the cache, else built with Go, once.
 *
 * @returns their paths.
 * @throws ConnectError `CC_KUBERNETES_UNAVAILABLE` when there is no Go, or the build fails.
 */
export async function findKindAssets(
  options: { readonly signal: AbortSignal },
  deps: KindAssetsDeps,
): Promise<readonly string[]> {
  const parent = join(cacheRoot(deps.env), "kubernetes");
  const found = await allIn(join(parent, FOLDER));
  if (found !== undefined) return found;
  const build = await deps.findBuild();
  if (build === undefined) {
    throw new ConnectError("CC_KUBERNETES_UNAVAILABLE", "There is no Go to build kind and kubeadm with", {
      hint: "Install Go 1.26 or newer, or kind and a Docker that pulls its node image.",
    });
  }
  const onWait = (): void => deps.progress.line("kind: another process is building it, waiting");
  const folder = await fillOnce(
    parent,
    FOLDER,
    { signal: options.signal, onWait },
    {
      isComplete: async () => (await allIn(join(parent, FOLDER))) !== undefined,
      fill: (temporary) => build(temporary, options.signal),
    },
  );
  const made = await allIn(folder);
  if (made !== undefined) return made;
  throw new ConnectError("CC_KUBERNETES_UNAVAILABLE", `${folder} lacks a program after it was made`);
}

/** The real ways to get the programs on this machine. */
export function kindAssetsDeps(
  options: { readonly signal: AbortSignal },
  deps: { readonly env: NodeJS.ProcessEnv; readonly progress: Progress; readonly keeper: Keeper },
): KindAssetsDeps {
  return { env: deps.env, progress: deps.progress, findBuild: () => findBuild(KIND, options, deps) };
}
