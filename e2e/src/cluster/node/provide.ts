import { join } from "node:path";
import { ConnectError } from "@cluster-connect/protocol";
import type { Keeper } from "../../process/keeper.ts";
import type { Progress } from "../../process/progress.ts";
import { type AdminKubectl, adminKubectl } from "../../stack/kubectl.ts";
import { assetsDeps, findAssets } from "../binaries/assets.ts";
import type { Tools } from "../binaries/tools.ts";
import type { Cluster } from "../cluster.ts";
import { findNodeAssets, nodeAssetsDeps } from "./node-assets.ts";
import { startNodeCluster } from "./node-cluster.ts";
import { type NodeHost, nodePrerequisites } from "./prerequisites.ts";

/** Dependencies of a Kubernetes with a node. */
export interface ProvideDeps {
  readonly keeper: Keeper;
  readonly tools: Tools;
  readonly env: NodeJS.ProcessEnv;
  readonly progress: Progress;
  readonly now: () => Date;
  readonly host: NodeHost & { readonly arch: NodeJS.Architecture };
}

/**
 * Gets every program and starts a Kubernetes with a node.
 *
 * @throws ConnectError `CC_KUBERNETES_UNAVAILABLE` with everything that this machine lacks.
 */
export async function provideNodeCluster(
  options: { readonly folder: string; readonly signal: AbortSignal },
  deps: ProvideDeps,
): Promise<Cluster> {
  const { folder, signal } = options;
  const { env, host, progress, tools } = deps;
  const reasons = await nodePrerequisites(host);
  if (reasons.length > 0) {
    throw new ConnectError("CC_KUBERNETES_UNAVAILABLE", `No pods can run on this machine: ${reasons.join("; ")}`, {
      hint: "Do that, then repeat the command. Everything but pods works without a node.",
    });
  }
  const assets = await findAssets({ signal }, assetsDeps({ signal }, deps));
  const nodeAssets = await findNodeAssets({ signal }, nodeAssetsDeps({ signal }, deps));
  const cache = join(folder, "kube-cache");
  const own = { keeper: deps.keeper, now: deps.now, arch: host.arch, assets, nodeAssets };
  const kubectl = (cluster: Cluster): AdminKubectl =>
    adminKubectl(cluster, { folder: cache, signal: () => signal }, { tools, env });
  return progress.during("1/6 Kubernetes with a node", () => startNodeCluster(options, { ...own, kubectl }));
}
