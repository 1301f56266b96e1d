import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Cluster } from "../cluster.ts";
import type { NodeAddresses } from "../control-plane/components.ts";
import { type ControlPlaneDeps, startControlPlane } from "../control-plane/control-plane.ts";
import { makeCgroups } from "./cgroups.ts";
import { type Link, makeLink } from "./link.ts";
import { makeNamespaces } from "./namespaces.ts";
import type { NodeAssets } from "./node-assets.ts";
import { outsideOfNode } from "./outside.ts";
import { importImage, type Restarts, startNode } from "./start-node.ts";

/** Dependencies of a cluster with a node. */
export interface NodeClusterDeps extends ControlPlaneDeps {
  readonly nodeAssets: NodeAssets;
  readonly arch: NodeJS.Architecture;
  /** kubectl as the administrator of that cluster. */
  readonly kubectl: (cluster: Cluster) => (args: readonly string[]) => Promise<string>;
}

const NODE_NAME = "node-1";

/**
 * Starts a control plane and a node beside it that runs pods; see README for what a machine needs.
 *
 * @param options `folder` must not be below /run or /var.
 * @throws ConnectError `CC_KUBERNETES_UNAVAILABLE` naming what failed; what was started is stopped again.
 */
export async function startNodeCluster(
  options: { readonly folder: string; readonly signal: AbortSignal },
  deps: NodeClusterDeps,
): Promise<Cluster> {
  const { signal } = options;
  const folder = join(options.folder, "node");
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const cgroups = await makeCgroups(deps);
  const namespaces = await makeNamespaces({ folder, signal }, deps);
  const stopNode = async (): Promise<void> => {
    await namespaces.program.stop();
    await cgroups.remove();
  };
  let cluster: Cluster | undefined;
  let link: Link;
  let restarts: Restarts;
  try {
    link = await makeLink(namespaces, { signal });
    const addresses: NodeAddresses = { name: NODE_NAME, apiserver: link.host, kubelet: link.node };
    cluster = await startControlPlane({ ...options, node: addresses }, deps);
    const credentials = dirname(cluster.kubeconfigPath);
    const node = { assets: deps.nodeAssets, namespaces, link, cgroups, arch: deps.arch };
    restarts = await startNode({ folder, credentials, addresses, signal }, { ...node, kubectl: deps.kubectl(cluster) });
  } catch (error) {
    await Promise.all([stopNode(), cluster?.stop()]);
    throw error;
  }
  const controlPlane = cluster;
  const stop = async (): Promise<void> => {
    await Promise.all([stopNode(), controlPlane.stop()]);
  };
  return {
    ...controlPlane,
    features: { ...controlPlane.features, pods: true },
    hostAddress: link.host,
    outside: outsideOfNode(namespaces),
    loadImage: (archive) => importImage(archive, namespaces),
    restart: async (program) => await (restarts.get(program)?.() ?? controlPlane.restart?.(program)),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
