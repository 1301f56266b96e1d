import { ConnectError } from "@cluster-connect/protocol";
import type { Authorities } from "../clusters/authorities.ts";
import { findClusters, requireNames } from "../clusters/find.ts";
import { openKnownClusters } from "../clusters/known-clusters.ts";
import { knownCluster, offeredAuthorities } from "../clusters/trust.ts";
import { refreshKeptEntries } from "../kubeconfig/refresh-kept.ts";
import { fetchClusters } from "../relay-api.ts";
import { foldersOf } from "../settings/folders.ts";
import { chooseRelay, type RelayFlags } from "../settings/relay-choice.ts";
import { chooseTokens } from "../tokens/choose-tokens.ts";
import { findGivenTokens, type TokenFlags } from "../tokens/token-flags.ts";
import type { CommandContext } from "./context.ts";

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
  if (flags.fingerprint === undefined) {
    deps.stdout.write(describe(cluster.id, accepted?.fingerprints ?? [], offered.fingerprints, flags.output));
    return;
  }
  const chosen = check(flags.fingerprint, offered, cluster.id);
  await known.keep(knownCluster(relay.url.origin, cluster, chosen, deps.now()), { signal });
  const kept = await refreshKeptEntries(relay.url.origin, cluster.id, chosen.pem, { signal }, foldersOf(deps));
  for (const context of kept) deps.stderr.write(`The entry ${context} is up to date with it.\n`);
  deps.stderr.write(`The authority of ${cluster.id} is trusted from now on: SHA-256 ${chosen.fingerprints[0]}\n`);
  if (flags.output === "json")
    deps.stdout.write(describe(cluster.id, chosen.fingerprints, offered.fingerprints, "json"));
}

function describe(
  cluster: string,
  trusted: readonly string[],
  announced: readonly string[],
  output: TrustFlags["output"],
): string {
  if (output === "json") return `${JSON.stringify({ cluster, trusted, announced }, undefined, 2)}\n`;
  const list = (fingerprints: readonly string[]): string => fingerprints.join("\n           ");
  return `trusted    ${trusted.length === 0 ? "none yet" : list(trusted)}\nannounced  ${list(announced)}\n`;
}

/** All announced authorities are taken when one of them is confirmed: they come from the same place. */
function check(typed: string, offered: Authorities, cluster: string): Authorities {
  const wanted = normalize(typed);
  if (offered.fingerprints.some((fingerprint) => normalize(fingerprint) === wanted)) return offered;
  throw new ConnectError(
    "CC_CLUSTER_CA_CHANGED",
    `${cluster} announces the authority ${offered.fingerprints.join(", ")}, which is not the one you gave`,
    { hint: "Compare both with what the cluster's administrator sees in the auth proxy's log." },
  );
}

function normalize(fingerprint: string): string {
  return fingerprint
    .replace(/^sha-?256[: ]/i, "")
    .replaceAll(/[^0-9a-fA-F]/g, "")
    .toUpperCase();
}
