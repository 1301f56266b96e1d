import { type ClusterId, ConnectError } from "@cluster-connect/protocol";
import type { CliDeps } from "../deps.ts";
import { startOnce } from "./background.ts";
import { type KnownProxy, proxiesFolder } from "./list.ts";
import { findServing } from "./select.ts";

/** The target of an entry that stays in a kubeconfig. */
export interface ServedEntry {
  readonly relay: string;
  readonly cluster: ClusterId;
  readonly port: number;
  /** Flags that name the relay and tokens, as they stand in the entry. */
  readonly flags: readonly string[];
}

/**
 * Starts a proxy on an entry's own port when none is there, and comes back when the cluster has answered.
 *
 * @throws ConnectError `CC_PORT_IN_USE` naming the holder of the port; also any error that keeps the cluster from
 *   answering.
 */
export async function ensureProxy(
  served: ServedEntry,
  options: { readonly signal: AbortSignal },
  deps: CliDeps,
): Promise<void> {
  const { relay, cluster, port, flags } = served;
  if ((await findServingProxy(served, options, deps)) !== undefined) return;
  const argv = ["proxy", "-n", cluster, "--port", String(port), "--serve-only", "--relay", relay, ...flags];
  try {
    await startOnce([cluster], argv, (proxy) => isServing(proxy, served), options, deps);
  } catch (error) {
    if (!(error instanceof ConnectError) || error.code !== "CC_PORT_IN_USE") throw error;
    throw new ConnectError("CC_PORT_IN_USE", `${error.message}, but the kubeconfig's entry of ${cluster} needs it`, {
      hint: `End that process, or move the entry: cluster-connect kubeconfig add -n ${cluster} --port PORT`,
      cause: error,
    });
  }
}

/** The proxy that an entry leads to, if it runs. */
export async function findServingProxy(
  served: Pick<ServedEntry, "relay" | "cluster" | "port">,
  options: { readonly signal: AbortSignal },
  deps: Pick<CliDeps, "env" | "homeDir">,
): Promise<KnownProxy | undefined> {
  return await findServing(proxiesFolder(deps), (proxy) => isServing(proxy, served), options);
}

function isServing({ record }: KnownProxy, served: Pick<ServedEntry, "relay" | "cluster" | "port">): boolean {
  return record.relay === served.relay && record.port === served.port && record.clusters.includes(served.cluster);
}
