import { ConnectError } from "@cluster-connect/protocol";
import { type KnownProxy, listProxies } from "./running.ts";

/** Proxies that run. */
export async function liveProxies(parent: string): Promise<readonly KnownProxy[]> {
  return (await listProxies(parent)).filter(({ alive }) => alive);
}

/**
 * Picks running proxies by the clusters they lead to.
 *
 * @param names none for the only one there is.
 * @throws ConnectError `CC_CLUSTER_UNKNOWN` when none leads there, `CC_USAGE` when it is not clear which is meant.
 */
export async function chooseProxies(
  parent: string,
  names: readonly string[] | undefined,
  options: { readonly all: boolean },
): Promise<readonly KnownProxy[]> {
  const live = await liveProxies(parent);
  if (options.all) return live;
  if (names === undefined || names.length === 0) {
    if (live.length <= 1) return live;
    throw new ConnectError("CC_USAGE", `${live.length} proxies are running`, {
      hint: "Name one with -n NAME, or take them all with --all; `cluster-connect status` lists them.",
    });
  }
  for (const name of names) {
    if (live.some(({ record }) => record.clusters.some((id) => id === name))) continue;
    throw new ConnectError("CC_CLUSTER_UNKNOWN", `No proxy to ${name} is running`, {
      hint: `Start one with \`cluster-connect proxy -n ${name} --detach\`; \`cluster-connect status\` lists them.`,
    });
  }
  return live.filter(({ record }) => record.clusters.some((id) => names.includes(id)));
}
