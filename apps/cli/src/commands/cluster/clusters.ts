import { parseAuthorities } from "../../cluster/authorities.ts";
import { pendingLines } from "../../cluster/pending-authority.ts";
import { type Cluster, fetchClusters } from "../../relay/api.ts";
import { chooseRelay, type RelayFlags } from "../../relay/choice.ts";
import { formatAge, type OutputFormat, writeListing } from "../../terminal/listing.ts";
import { printable } from "../../terminal/printable.ts";
import { chooseTokens } from "../../tokens/choose-tokens.ts";
import { findGivenTokens, type TokenFlags } from "../../tokens/given/token-flags.ts";
import type { CommandContext } from "../context.ts";

export interface ClustersFlags extends RelayFlags, TokenFlags {
  readonly output: OutputFormat;
}

/** Lists the clusters that the caller may reach. */
export async function clusters(flags: ClustersFlags, { deps, signal }: CommandContext): Promise<void> {
  const relay = await chooseRelay(flags, deps);
  const tokens = chooseTokens(relay.url, await findGivenTokens(flags, deps), deps);
  const { token } = await tokens.token("relay", { signal });
  const found = await fetchClusters(relay.url, token, { signal }, deps);
  await writeListing(
    {
      key: "clusters",
      items: found.map((cluster) => ({ ...cluster, fingerprint: fingerprintOf(cluster) })),
      nameOf: ({ id }) => id,
      none: `${relay.url.origin} lets you reach no cluster. Ask its administrator for a grant.`,
      columns: [
        { title: "NAME", text: ({ id }) => id },
        { title: "STATUS", text: ({ status }) => status },
        { title: "LAST SEEN", text: lastSeen },
        { title: "AGENTS", text: ({ agents }) => String(agents.length) },
        { title: "FINGERPRINT", text: ({ fingerprint }) => fingerprint?.slice(0, 23) ?? "-" },
        { title: "REASON", text: reasonOf },
      ],
    },
    flags.output,
    deps,
  );
  for (const line of found.flatMap(pendingLines)) deps.stderr.write(`${printable(line)}\n`);
}

function reasonOf({ reason, pendingFingerprint, pendingUid }: Cluster): string {
  const pending = pendingFingerprint === null ? undefined : "another authority waits to be accepted";
  const duplicate = pendingUid === null ? undefined : "another cluster claims the name";
  return [reason, pending, duplicate].filter((text) => text != null).join("; ");
}

function fingerprintOf(cluster: Cluster): string | null {
  if (cluster.certificateAuthorities === null) return null;
  return parseAuthorities(cluster.certificateAuthorities, cluster.id).fingerprints[0] ?? null;
}

function lastSeen({ lastSeenSeconds }: Cluster): string {
  return lastSeenSeconds === null ? "never" : lastSeenSeconds < 5 ? "now" : `${formatAge(lastSeenSeconds)} ago`;
}
