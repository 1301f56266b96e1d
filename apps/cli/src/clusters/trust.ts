import { X509Certificate } from "node:crypto";
import { ConnectError } from "@cluster-connect/protocol";
import type { Cluster } from "../relay-api.ts";
import { type Authorities, parseAuthorities } from "./authorities.ts";
import type { KnownCluster, KnownClusters } from "./known-clusters.ts";

/** What is known of a cluster's authorities before anything is sent to it. */
export interface Trust {
  readonly authorities: Authorities;
  /** It was accepted just now, because it was never seen before. */
  readonly isNew: boolean;
  /** Announced but not accepted: a rotation that has begun, or somebody trying. */
  readonly announced: readonly string[];
}

/**
 * Compares what the relay says about a cluster's authorities with what was accepted when it was first seen. Only
 * accepted ones are ever used.
 *
 * @throws ConnectError `CC_CLUSTER_CA_CHANGED` when nothing accepted is left, `CC_AGENT_OFFLINE` when the cluster has
 *   not told its authorities yet.
 */
export async function trustCluster(
  relay: string,
  cluster: Cluster,
  known: KnownClusters,
  options: { readonly signal: AbortSignal; readonly now: number },
): Promise<Trust> {
  const offered = offeredAuthorities(cluster);
  const found = await known.find(relay, cluster.id);
  if (found === undefined) {
    await known.keep(knownCluster(relay, cluster, offered, options.now), options);
    return { authorities: offered, isNew: true, announced: [] };
  }
  const before = parseAuthorities(found.authorities, `${known.path}: ${cluster.id}`);
  const accepted = withRenewed(before, offered, cluster);
  if (accepted !== before) {
    const kept = knownCluster(relay, cluster, accepted, options.now);
    await known.keep({ ...kept, trustedAt: found.trustedAt }, options);
  }
  if (!offered.fingerprints.some((fingerprint) => accepted.fingerprints.includes(fingerprint))) {
    throw changed(cluster, accepted, offered, found.trustedAt);
  }
  return {
    authorities: accepted,
    isNew: false,
    announced: offered.fingerprints.filter((fingerprint) => !accepted.fingerprints.includes(fingerprint)),
  };
}

/** What a person is told, line by line, when a cluster's authority was accepted because it was never seen before. */
export function describeFirstSeen(cluster: string, { fingerprints }: Authorities): readonly string[] {
  return [
    `${cluster} is seen for the first time; from now on its authority is trusted:`,
    `  SHA-256 ${fingerprints[0]}`,
    "  Compare it with the cluster's administrator.",
  ];
}

/** With further certificates that an accepted key has issued for itself: whoever has the key is who was accepted. */
function withRenewed(accepted: Authorities, offered: Authorities, cluster: Cluster): Authorities {
  const blocks = offered.pem.split(/(?<=-----END CERTIFICATE-----\n)/);
  const renewed = blocks.filter((block, index) => {
    const [key, fingerprint] = [offered.keys[index] ?? "", offered.fingerprints[index] ?? ""];
    return accepted.keys.includes(key) && !accepted.fingerprints.includes(fingerprint) && isSelfIssued(block);
  });
  if (renewed.length === 0) return accepted;
  return parseAuthorities(renewed.join("") + accepted.pem, `What the relay says of ${cluster.id}`);
}

function isSelfIssued(pem: string): boolean {
  const certificate = new X509Certificate(pem);
  return certificate.verify(certificate.publicKey);
}

/** The authorities a relay announces for a cluster. */
export function offeredAuthorities(cluster: Cluster): Authorities {
  if (cluster.certificateAuthorities === null) {
    throw new ConnectError("CC_AGENT_OFFLINE", `${cluster.id} has not told the relay its certificate authorities yet`);
  }
  return parseAuthorities(cluster.certificateAuthorities, `What the relay says of ${cluster.id}`);
}

export function knownCluster(relay: string, cluster: Cluster, authorities: Authorities, now: number): KnownCluster {
  return {
    relay,
    cluster: cluster.id,
    fingerprints: authorities.fingerprints,
    trustedAt: new Date(now).toISOString(),
    authorities: authorities.pem,
  };
}

function changed(cluster: Cluster, accepted: Authorities, offered: Authorities, trustedAt: string): ConnectError {
  const [was] = accepted.fingerprints;
  const [is] = offered.fingerprints;
  return new ConnectError(
    "CC_CLUSTER_CA_CHANGED",
    `The certificate authority of ${cluster.id} changed: it was ${was} (trusted ${trustedAt.slice(0, 10)}), now it is ${is}`,
    {
      hint: `It was reinstalled, or somebody is in between. Ask its administrator for the fingerprint; if it is the new one: cluster-connect clusters trust -n ${cluster.id} --fingerprint ${is}`,
    },
  );
}
