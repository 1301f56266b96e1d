import { ConnectError } from "@cluster-connect/protocol";
import { findClusters, requireNames } from "../../cluster/find.ts";
import { trustCluster } from "../../cluster/trust.ts";
import { loadTrustSources } from "../../cluster/trust-sources.ts";
import { locateKubeconfig } from "../../kubeconfig/location.ts";
import { startOnce } from "../../proxies/background.ts";
import { fetchClusters } from "../../relay/api.ts";
import { chooseRelay } from "../../relay/choice.ts";
import { chooseTokens } from "../../tokens/choose-tokens.ts";
import { findGivenTokens } from "../../tokens/given/token-flags.ts";
import type { CommandContext } from "../context.ts";
import type { ProxyFlags } from "./proxy.ts";

/**
 * Starts a proxy in the background and waits until it is ready. One that leads to the same clusters, in the same
 * kubeconfig, is taken as it is.
 *
 * @param argv the words of this command, which the background process gets without `--detach`.
 */
export async function detachProxy(
  flags: ProxyFlags,
  argv: readonly string[],
  { deps, signal }: CommandContext,
): Promise<void> {
  const names = requireNames(flags.name);
  const target = locateKubeconfig(flags.file, deps);
  if (target.kind !== "file" || flags.tokenFile === "-") {
    throw new ConnectError("CC_USAGE", "A proxy in the background has no standard input and output", {
      hint: "Leave out --detach, or name files with -f and --token-file.",
    });
  }
  const relay = (await chooseRelay(flags, deps)).url;
  const ids = await resolveNames(names, flags, relay, { deps, signal });
  await trustBefore(names, flags, relay, { deps, signal });
  const { isNew, record, process } = await startOnce(
    names,
    argv,
    (proxy) =>
      proxy.record.relay === relay.origin &&
      proxy.record.kubeconfig === target.path &&
      ids.every((name) => proxy.record.clusters.some((id) => id === name)),
    { signal },
    deps,
  );
  const contexts = record.entries.map(({ context: name }) => name).join(", ");
  const how = isNew ? "runs in the background" : "was running already";
  deps.stderr.write(`The proxy ${how} (process ${process.pid}, port ${record.port}).\n`);
  deps.stderr.write(
    `Contexts: ${contexts}. \`cluster-connect stop\` ends it, \`cluster-connect logs\` shows its screen.\n`,
  );
}

/** Only the relay knows whether there is a group of that name. */
async function resolveNames(
  names: readonly string[],
  flags: ProxyFlags,
  relay: URL,
  { deps, signal }: Pick<CommandContext, "deps" | "signal">,
): Promise<readonly string[]> {
  if (flags.resourceGroup === undefined) return names;
  const { token } = await chooseTokens(relay, await findGivenTokens(flags, deps), deps).token("relay", { signal });
  const offered = await fetchClusters(relay, token, { signal }, deps);
  return findClusters(names, offered, relay.origin, flags.resourceGroup).map(({ id }) => id);
}

/** The background has no terminal: a person is asked about new clusters here. */
async function trustBefore(
  names: readonly string[],
  flags: ProxyFlags,
  relay: URL,
  { deps, signal }: Pick<CommandContext, "deps" | "signal">,
): Promise<void> {
  const sources = await loadTrustSources(relay, flags, { signal }, deps);
  if (sources.ask === undefined) return;
  const { token } = await chooseTokens(relay, await findGivenTokens(flags, deps), deps).token("relay", { signal });
  const offered = await fetchClusters(relay, token, { signal }, deps);
  for (const cluster of findClusters(names, offered, relay.origin, flags.resourceGroup)) {
    await trustCluster(relay.origin, cluster, sources, { signal, now: deps.now() });
  }
}
