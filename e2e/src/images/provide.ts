import { access } from "node:fs/promises";
import { join } from "node:path";
import { ConnectError } from "@cluster-connect/protocol";
import { cacheRoot, fillOnce } from "../cluster/binaries/cache-folder.ts";
import { findExecutable } from "../cluster/binaries/find-executable.ts";
import { withLock } from "../cluster/lock.ts";
import { NODE_PATH } from "../cluster/node/prerequisites.ts";
import { definedOnly } from "../process/program-env.ts";
import type { Progress } from "../process/progress.ts";
import { runToEnd } from "../process/run-to-end.ts";
import { repositoryFile } from "../stack/repository-file.ts";

/** Apps whose images the agent's chart installs. */
const CHART_APPS = ["agent", "auth-proxy", "cli"] as const;

export type ImageApp = (typeof CHART_APPS)[number] | "relay";

/** Why no image can be made on this machine, and what to do about it; undefined when they can. */
export async function missingForImages(env: NodeJS.ProcessEnv): Promise<string | undefined> {
  if (env["E2E_IMAGES"]) return undefined;
  if (process.getuid?.() !== 0) return "images need root, for a Docker daemon of their own";
  const found = await findExecutable("dockerd", { PATH: NODE_PATH });
  return found === undefined ? "run: apt-get install --no-install-recommends docker.io" : undefined;
}

/**
 * Archives of the images, made from the sources as they are; from the folder `E2E_IMAGES` where that is set. All suites
 * of one run, which `E2E_RUN` names by a folder of its own, have them made once.
 *
 * @throws ConnectError `CC_KUBERNETES_UNAVAILABLE` with the last line of what failed.
 */
export async function provideImages(
  options: { readonly signal: AbortSignal; readonly apps?: readonly ImageApp[] },
  deps: { readonly env: NodeJS.ProcessEnv; readonly progress: Progress },
): Promise<readonly string[]> {
  const { env, progress } = deps;
  const { apps = CHART_APPS, signal } = options;
  const folder = env["E2E_IMAGES"] || (await progress.during("images", () => make(apps, { signal }, env)));
  return apps.map((app) => join(folder, `${app}.tar`));
}

async function make(
  apps: readonly ImageApp[],
  options: { readonly signal: AbortSignal },
  env: NodeJS.ProcessEnv,
): Promise<string> {
  const run = env["E2E_RUN"];
  const cache = join(cacheRoot(env), "images");
  if (!run) {
    await runDocker(cache, apps, options, env);
    return cache;
  }
  return fillOnce(run, "images", options, {
    isComplete: () => isFile(join(run, "images", "relay.tar")),
    fill: (folder) => runDocker(folder, [], options, env),
  });
}

const isFile = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/** @param apps Every app when there are none. */
async function runDocker(
  folder: string,
  apps: readonly ImageApp[],
  options: { readonly signal: AbortSignal },
  env: NodeJS.ProcessEnv,
): Promise<void> {
  const script = repositoryFile("e2e/images/make.sh");
  const docker = join(cacheRoot(env), "images", "docker");
  // Two daemons cannot have the same data.
  const done = await withLock(`${docker}.lock`, options, () =>
    runToEnd(script, [folder, ...apps], { env: definedOnly({ ...env, DOCKER_FOLDER: docker }), ...options }),
  );
  if (done.code === 0) {
    process.stderr.write(done.stdout);
    return;
  }
  const last = done.stderr.trim().split("\n").at(-1) ?? "";
  throw new ConnectError("CC_KUBERNETES_UNAVAILABLE", `the images were not made: ${last}`);
}
