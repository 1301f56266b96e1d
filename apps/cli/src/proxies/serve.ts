import { type ClusterId, ConnectError } from "@cluster-connect/protocol";
import type { CliDeps } from "../deps.ts";
import { startOnce } from "./background.ts";
import { liveProxies } from "./choose.ts";
import { type KnownProxy, proxiesFolder } from "./running.ts";

/** What an entry that stays in a kubeconfig leads to. */
export interface Served {
  readonly relay: string;
  readonly cluster: ClusterId;
  readonly port: number;
  /** Flags that name the relay and tokens, as they stand in the entry. */
  readonly flags: readonly string[];
}

/**
 * Starts a proxy on an entry's own port when none is there, and comes back when the cluster has answered.
 *
 * @throws ConnectError `CC_PORT_IN_USE` naming who has the port, and what keeps the cluster from answering.
 */
export async function serve(served: Served, options: { readonly signal: AbortSignal }, deps: CliDeps): Promise<void> {
  const { relay, cluster, port, flags } = served;
  if ((await findServing(served, deps)) !== undefined) return;
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
export async function findServing(
  served: Pick<Served, "relay" | "cluster" | "port">,
  deps: Pick<CliDeps, "env" | "homeDir">,
): Promise<KnownProxy | undefined> {
  return (await liveProxies(proxiesFolder(deps))).find((proxy) => isServing(proxy, served));
}

function isServing({ record }: KnownProxy, served: Pick<Served, "relay" | "cluster" | "port">): boolean {
  return record.relay === served.relay && record.port === served.port && record.clusters.includes(served.cluster);
}
