import { ConnectError } from "@cluster-connect/protocol";
import type { Tools } from "../cluster/binaries/tools.ts";
import type { Cluster } from "../cluster/cluster.ts";
import { definedOnly } from "../process/program-env.ts";
import { runToEnd } from "../process/run-to-end.ts";

/** kubectl as the cluster's administrator; resolves with what it printed. */
export type AdminKubectl = (args: readonly string[], input?: string) => Promise<string>;

/**
 * kubectl with the administrator's kubeconfig.
 *
 * Calls reject with ConnectError `CC_KUBERNETES_UNAVAILABLE` and kubectl's last line when it fails.
 */
export function adminKubectl(
  cluster: Pick<Cluster, "kubeconfigPath">,
  options: { readonly folder: string; readonly signal: () => AbortSignal },
  deps: { readonly tools: Tools; readonly env: NodeJS.ProcessEnv },
): AdminKubectl {
  const env = {
    ...definedOnly(deps.env),
    PATH: deps.tools.path,
    KUBECONFIG: cluster.kubeconfigPath,
    KUBECACHEDIR: options.folder,
  };
  return async (args, input) => {
    const run = { env, signal: options.signal(), ...(input === undefined ? {} : { input }) };
    const done = await runToEnd(deps.tools.kubectl, args, run);
    if (done.code === 0) return done.stdout;
    const last = done.stderr.trim().split("\n").at(-1) ?? "";
    throw new ConnectError("CC_KUBERNETES_UNAVAILABLE", `kubectl ${args[0] ?? ""} failed: ${last}`);
  };
}
