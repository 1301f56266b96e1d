import { findClusters, requireNames } from "../../cluster/find.ts";
import { parseFingerprint } from "../../cluster/fingerprint.ts";
import { openKnownClusters } from "../../cluster/known-clusters.ts";
import { pendingLines } from "../../cluster/pending-authority.ts";
import { authorityWith, knownCluster, offeredAuthorities } from "../../cluster/trust.ts";
import { refreshKeptEntries } from "../../kubeconfig/refresh-kept.ts";
import { fetchClusters } from "../../relay/api.ts";
import { chooseRelay, type RelayFlags } from "../../relay/choice.ts";
import { foldersOf } from "../../settings/folders.ts";
import { printable } from "../../terminal/printable.ts";
import { chooseTokens } from "../../tokens/choose-tokens.ts";
import { findGivenTokens, type TokenFlags } from "../../tokens/given/token-flags.ts";
import type { CommandContext } from "../context.ts";

export interface TrustFlags extends RelayFlags, TokenFlags {
  readonly name?: readonly string[];
  readonly fingerprint?: string;
  readonly output: "text" | "json";
}

/** Shows which authority is trusted for a cluster; with a fingerprint, trusts the announced one that has it. */
export async function trust(flags: TrustFlags, { deps, signal }: CommandContext): Promise<void> {
  const names = requireNames(flags.name);
  const relay = await chooseRelay(flags, deps);
  const tokens = chooseTokens(relay.url, await findGivenTokens(flags, deps), deps);
  const { token } = await tokens.token("relay", { signal });
  const [cluster] = findClusters(names, await fetchClusters(relay.url, token, { signal }, deps), relay.url.origin);
  if (cluster === undefined) return;
  const known = openKnownClusters(foldersOf(deps));
  const offered = offeredAuthorities(cluster);
  const accepted = await known.find(relay.url.origin, cluster.id);
  for (const line of pendingLines(cluster)) deps.stderr.write(`${printable(line)}\n`);
  if (flags.fingerprint === undefined) {
    deps.stdout.write(describeTrust(cluster.id, accepted?.fingerprints ?? [], offered.fingerprints, flags.output));
    return;
  }
  const fingerprint = parseFingerprint(flags.fingerprint, "--fingerprint");
  const chosen = authorityWith(fingerprint, offered, cluster);
  await known.keep(knownCluster(relay.url.origin, cluster, chosen, deps.now()), { signal });
  const kept = await refreshKeptEntries(relay.url.origin, cluster.id, chosen, { signal }, foldersOf(deps));
  for (const context of kept) deps.stderr.write(`The entry ${context} is up to date with it.\n`);
  deps.stderr.write(`The authority of ${cluster.id} is trusted from now on: SHA-256 ${chosen.fingerprints[0]}\n`);
  if (flags.output === "json")
    deps.stdout.write(describeTrust(cluster.id, chosen.fingerprints, offered.fingerprints, "json"));
}

function describeTrust(
  cluster: string,
  trusted: readonly string[],
  announced: readonly string[],
  output: TrustFlags["output"],
): string {
  if (output === "json") return `${JSON.stringify({ cluster, trusted, announced }, undefined, 2)}\n`;
  const list = (fingerprints: readonly string[]): string => fingerprints.join("\n           ");
  return `trusted    ${trusted.length === 0 ? "none yet" : list(trusted)}\nannounced  ${list(announced)}\n`;
}
