import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { ConnectError } from "@cluster-connect/protocol";
import type { Keeper } from "../../process/keeper.ts";
import type { Progress } from "../../process/progress.ts";
import { type FillFolder, findBuild } from "./assets.ts";
import { CLIENT, MODULES } from "./build.ts";
import { cacheRoot, fillOnce } from "./cache-folder.ts";
import { isExecutable } from "./find-executable.ts";

/** Dependencies of the search for the client. */
export interface GoClientDeps {
  readonly env: NodeJS.ProcessEnv;
  readonly progress: Progress;
  /** How to build with Go; undefined where there is none. */
  readonly findBuild: () => Promise<FillFolder | undefined>;
}

const SOURCE = join(MODULES, CLIENT.module);
const HASH_LENGTH = 12;

/** A name that changes with the source. */
async function folderName(): Promise<string> {
  const hash = createHash("sha256");
  for (const name of (await readdir(SOURCE)).toSorted()) hash.update(name).update(await readFile(join(SOURCE, name)));
  return `client-${hash.digest("hex").slice(0, HASH_LENGTH)}`;
}

/**
 * Finds the client of `go/client`: in the cache, else built with Go, once for each state of its source.
 *
 * @returns its path.
 * @throws ConnectError `CC_KUBERNETES_UNAVAILABLE` when there is no Go, or the build fails.
 */
export async function findGoClient(options: { readonly signal: AbortSignal }, deps: GoClientDeps): Promise<string> {
  const parent = join(cacheRoot(deps.env), "kubernetes");
  const name = await folderName();
  const path = join(parent, name, CLIENT.binary);
  if (await isExecutable(path)) return path;
  const build = await deps.findBuild();
  if (build === undefined) {
    throw new ConnectError("CC_KUBERNETES_UNAVAILABLE", "There is no Go to build a client of client-go with", {
      hint: "Install Go 1.26 or newer.",
    });
  }
  const onWait = (): void => deps.progress.line("client-go: another process is building the client, waiting");
  await fillOnce(
    parent,
    name,
    { signal: options.signal, onWait },
    { isComplete: () => isExecutable(path), fill: (temporary) => build(temporary, options.signal) },
  );
  if (await isExecutable(path)) return path;
  throw new ConnectError("CC_KUBERNETES_UNAVAILABLE", `${path} is missing after it was made`);
}

/** The real ways to get the client on this machine. */
export function goClientDeps(
  options: { readonly signal: AbortSignal },
  deps: { readonly env: NodeJS.ProcessEnv; readonly progress: Progress; readonly keeper: Keeper },
): GoClientDeps {
  return { env: deps.env, progress: deps.progress, findBuild: () => findBuild([CLIENT], options, deps) };
}
