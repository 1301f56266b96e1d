import { ConnectError } from "@cluster-connect/protocol";
import { startKeeper } from "../process/keeper.ts";
import type { Progress } from "../process/progress.ts";
import { assetsDeps, findAssets } from "./binaries/assets.ts";
import { findTools } from "./binaries/tools.ts";

/**
 * Gets what the suites need before they run, so that minutes of building are seen and count against no test.
 *
 * @returns why there is no Kubernetes on this machine, or undefined when there is one.
 */
export async function prepareKubernetes(
  options: { readonly signal: AbortSignal },
  deps: { readonly env: NodeJS.ProcessEnv; readonly progress: Progress },
): Promise<string | undefined> {
  const { env, progress } = deps;
  await using keeper = await startKeeper();
  try {
    // Another provider brings its own Kubernetes.
    if ((env["E2E_CLUSTER"] || "local") === "local") {
      await findAssets(options, assetsDeps(options, { env, progress, keeper }));
    }
    await findTools(options, { env, progress, platform: process.platform, arch: process.arch });
    return undefined;
  } catch (error) {
    if (error instanceof ConnectError && !options.signal.aborted) return error.message;
    throw error;
  }
}
