import { hostname } from "node:os";
import { join } from "node:path";
import { ConnectError } from "@cluster-connect/protocol";
import type { Cluster } from "./cluster.ts";
import { useExisting } from "./existing.ts";
import { startKindCluster } from "./kind/kind-cluster.ts";
import { type ProvideDeps, provideNodeCluster } from "./node/provide.ts";

/**
 * A Kubernetes that runs pods, from the provider that `E2E_CLUSTER` names. `local`, the default, starts a node of our
 * own. `kind` makes a cluster with kind. `existing` uses the current context, or the one that `E2E_CONTEXT` names.
 *
 * @throws ConnectError `CC_USAGE` for any other name, and what the provider throws.
 */
export async function provideWithPods(
  options: { readonly folder: string; readonly signal: AbortSignal },
  deps: ProvideDeps,
): Promise<Cluster> {
  const { env, tools, progress } = deps;
  const provider = env["E2E_CLUSTER"] || "local";
  switch (provider) {
    case "local":
      return await provideNodeCluster(options, deps);
    case "kind": {
      const own = { tools, env, progress, pid: process.pid, hostname: hostname(), arch: deps.host.arch };
      return await progress.during("1/6 Kubernetes by kind", () =>
        startKindCluster({ ...options, folder: join(options.folder, "kind") }, own),
      );
    }
    case "existing":
      return await useExisting(env["E2E_CONTEXT"] ?? "", options, { tools, env });
    default:
      throw new ConnectError("CC_USAGE", `E2E_CLUSTER is local, kind or existing, not ${provider}`);
  }
}
