/** Prints the path of each program that a node image of `images/kind-node.sh` is made of, and of kind; builds what is not there yet. */
import { ConnectError } from "@cluster-connect/protocol";
import { startKeeper } from "../../process/keeper.ts";
import { createProgress } from "../../process/progress.ts";
import { assetsDeps, findAssets } from "../binaries/assets.ts";
import { findNodeAssets, nodeAssetsDeps } from "../node/node-assets.ts";
import { findKindAssets, kindAssetsDeps } from "./kind-assets.ts";

const { env } = process;
const options = { signal: new AbortController().signal };
const progress = createProgress(process.stderr, { now: () => performance.now() });
await using keeper = await startKeeper();
const deps = { env, progress, keeper };
try {
  const { etcd, apiserver, controllerManager, scheduler } = await findAssets(options, assetsDeps(options, deps));
  if (controllerManager === undefined || scheduler === undefined) {
    throw new ConnectError(
      "CC_KUBERNETES_UNAVAILABLE",
      "There is a kube-apiserver, but no controllers for a node image",
    );
  }
  const { kubelet, kubeProxy } = await findNodeAssets(options, nodeAssetsDeps(options, deps));
  const others = await findKindAssets(options, kindAssetsDeps(options, deps));
  console.log([etcd, apiserver, controllerManager, scheduler, kubelet, kubeProxy, ...others].join("\n"));
} catch (error) {
  if (!(error instanceof ConnectError)) throw error;
  console.error(`error: ${error.message} (${error.code})`);
  process.exitCode = 1;
}
