import { ConnectError } from "@cluster-connect/protocol";
import { startKeeper } from "../../process/keeper.ts";
import type { Progress } from "../../process/progress.ts";
import { prepareKubernetes } from "../prepare.ts";
import { findNodeAssets, nodeAssetsDeps } from "./node-assets.ts";
import { type NodeHost, nodePrerequisites } from "./prerequisites.ts";

/**
 * Gets what the suites on a node need before they run.
 *
 * @returns why no pods can run on this machine, or undefined when they can.
 */
export async function prepareNode(
  options: { readonly signal: AbortSignal },
  deps: { readonly env: NodeJS.ProcessEnv; readonly progress: Progress; readonly host: NodeHost },
): Promise<string | undefined> {
  // Another provider's node needs nothing of this machine.
  if ((deps.env["E2E_CLUSTER"] || "local") !== "local") return undefined;
  const reasons = await nodePrerequisites(deps.host);
  if (reasons.length > 0) return reasons.join("; ");
  const reason = await prepareKubernetes(options, deps);
  if (reason !== undefined) return reason;
  await using keeper = await startKeeper();
  try {
    await findNodeAssets(options, nodeAssetsDeps(options, { ...deps, keeper }));
    return undefined;
  } catch (error) {
    if (error instanceof ConnectError && !options.signal.aborted) return error.message;
    throw error;
  }
}
