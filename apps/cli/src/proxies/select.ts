import { ConnectError } from "@cluster-connect/protocol";
import { hasProof } from "../proxy/proof.ts";
import { isRunning, type KnownProxy, listProxies, readProxyRecords } from "./list.ts";

interface WaitOptions {
  readonly signal: AbortSignal;
}

/** Proxies that run on this machine. */
export async function runningProxies(parent: string, options: WaitOptions): Promise<readonly KnownProxy[]> {
  const all = await listProxies(parent);
  const runs = await Promise.all(all.map(async (proxy) => await isRunning(proxy, options)));
  return all.filter((_, index) => runs[index] === true);
}

/**
 * The first proxy of a kind whose port proves that it is ours. A process that runs may have lost its port, or have it
 * in another network namespace.
 */
export async function findServing(
  parent: string,
  isWanted: (proxy: KnownProxy) => boolean,
  options: WaitOptions,
): Promise<KnownProxy | undefined> {
  for (const proxy of await listProxies(parent)) {
    if (proxy.liveness === "gone" || !isWanted(proxy)) continue;
    if (await hasProof(proxy.record.port, proxy.record.proofSecret, options)) return proxy;
  }
  return undefined;
}

/** Records that cannot be listed as a proxy of this machine, in lines for a person: they are left alone. */
export async function describeSkipped(parent: string, options: WaitOptions): Promise<readonly string[]> {
  const { proxies, unreadable } = await readProxyRecords(parent);
  const strangers = proxies.filter(({ liveness }) => liveness === "unknown");
  const lines: string[] = [];
  for (const proxy of strangers) {
    if (await isRunning(proxy, options)) continue;
    const clusters = proxy.record.clusters.join(", ");
    lines.push(
      `A proxy to ${clusters} is recorded in ${proxy.folder} by process ${proxy.process.pid} of another machine or ` +
        "container; it is left alone. If it is gone, remove that folder.",
    );
  }
  for (const { folder } of unreadable) {
    lines.push(`The record in ${folder} cannot be read; it is left alone. If no proxy uses it, remove that folder.`);
  }
  return lines;
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
  options: WaitOptions & { readonly all: boolean },
): Promise<readonly KnownProxy[]> {
  const running = await runningProxies(parent, options);
  if (options.all) return running;
  if (names === undefined || names.length === 0) {
    if (running.length <= 1) return running;
    throw new ConnectError("CC_USAGE", `${running.length} proxies are running`, {
      hint: "Name one with -n NAME, or take them all with --all; `cluster-connect status` lists them.",
    });
  }
  for (const name of names) {
    if (running.some(({ record }) => record.clusters.some((id) => id === name))) continue;
    throw new ConnectError("CC_CLUSTER_UNKNOWN", `No proxy to ${name} is running`, {
      hint: `Start one with \`cluster-connect proxy -n ${name} --detach\`; \`cluster-connect status\` lists them.`,
    });
  }
  return running.filter(({ record }) => record.clusters.some((id) => names.includes(id)));
}
