import { X509Certificate } from "node:crypto";
import { ConnectError } from "@cluster-connect/protocol";
import { signedAuthorities } from "../fleet/authority-signature.ts";
import { isRevoked } from "../fleet/revocations.ts";
import type { Cluster } from "../relay/api.ts";
import { isYes } from "../terminal/confirm.ts";
import { type Authorities, parseAuthorities } from "./authorities.ts";
import { parseFingerprint } from "./fingerprint.ts";
import type { KnownCluster } from "./known-clusters.ts";
import type { TrustSources } from "./trust-sources.ts";

/** The source that named an authority as the cluster's. */
export type TrustedBy = "before" | "fingerprint" | "file" | "fleet" | "person";

/** Knowledge of a cluster's authorities before anything is sent to it. */
export interface Trust {
  readonly authorities: Authorities;
  readonly by: TrustedBy;
  /** Announced but not accepted: a rotation that has begun, or an attack. */
  readonly announced: readonly string[];
}

/** More than a cluster ever has at once; a person could not compare more. */
const MAX_AUTHORITIES = 8;

interface TrustOptions {
  readonly signal: AbortSignal;
  readonly now: number;
}

/**
 * Compares the authorities that the relay announces for a cluster with those accepted before. Else it compares them
 * with those that the person, a file or the fleet key names. Only accepted ones are ever used, and each for its own
 * cluster alone.
 *
 * @throws ConnectError `CC_CLUSTER_UNTRUSTED` when no source names the cluster's authority, `CC_CLUSTER_CA_CHANGED`
 *   when it is another one, `CC_AGENT_OFFLINE` when the cluster has not told its authorities yet, `CC_RELAY_REFUSED`
 *   for a server name of another cluster.
 */
export async function trustCluster(
  relay: string,
  cluster: Cluster,
  sources: TrustSources,
  options: TrustOptions,
): Promise<Trust> {
  requireOwnName(cluster);
  const offered = withoutRevoked(offeredAuthorities(cluster), cluster, sources);
  const found = await sources.known.find(relay, cluster.id);
  const before =
    found === undefined ? undefined : parseAuthorities(found.authorities, `${sources.known.path}: ${cluster.id}`);
  const named = sources.fingerprints.get(cluster.id);
  if (found !== undefined && before !== undefined && isNamed(before, named)) {
    const trust = await trustAgain(found, { cluster, before, offered }, sources, options);
    if (trust !== undefined) return trust;
    throw changedAuthority(cluster, before, offered, found.trustedAt);
  }
  const [accepted, by] = await acceptFirst(cluster, offered, sources, options);
  await requireUnshared(cluster, accepted, sources);
  await sources.known.keep(knownCluster(relay, cluster, accepted, options.now), options);
  return { authorities: accepted, by, announced: without(offered, accepted) };
}

/** A cluster's authorities that were accepted before, beside those that the relay offers now. */
interface Compared {
  readonly cluster: Cluster;
  readonly before: Authorities;
  readonly offered: Authorities;
}

/**
 * With the authorities accepted before and those they have renewed; undefined when none of them is offered any more.
 */
async function trustAgain(
  found: KnownCluster,
  { cluster, before, offered }: Compared,
  sources: TrustSources,
  options: TrustOptions,
): Promise<Trust | undefined> {
  const keep = async (authorities: Authorities): Promise<void> => {
    const kept = knownCluster(found.relay, cluster, authorities, options.now);
    await sources.known.keep({ ...kept, trustedAt: found.trustedAt }, options);
  };
  const accepted = withRenewed(withoutRevoked(before, cluster, sources), offered, cluster);
  const isOffered = offered.fingerprints.some((fingerprint) => accepted.fingerprints.includes(fingerprint));
  if (isOffered) {
    if (accepted.pem !== before.pem) await keep(accepted);
    return { authorities: accepted, by: "before", announced: without(offered, accepted) };
  }
  const signed = signedByFleet(offered, cluster, sources);
  if (signed === undefined) return undefined;
  await requireUnshared(cluster, signed, sources);
  await keep(signed);
  return { authorities: signed, by: "fleet", announced: without(offered, signed) };
}

/** Lines for a person about a cluster that was accepted without a question. */
export function describeNewTrust(cluster: string, { by, authorities }: Trust): readonly string[] {
  if (by !== "fleet") return [];
  return [`${cluster} is trusted, as the fleet key has signed its authority: SHA-256 ${authorities.fingerprints[0]}`];
}

/** Finds the source for the authority of a cluster that was never seen here, or that has another fingerprint now. */
async function acceptFirst(
  cluster: Cluster,
  offered: Authorities,
  sources: TrustSources,
  options: TrustOptions,
): Promise<readonly [Authorities, TrustedBy]> {
  const named = sources.fingerprints.get(cluster.id);
  if (named !== undefined) {
    const chosen = pick(offered, ({ fingerprint }) => named.includes(fingerprint));
    if (chosen === undefined) throw otherAuthority(cluster, offered, "the fingerprint that you gave");
    return [chosen, "fingerprint"];
  }
  const file = sources.fileFor(cluster.id);
  if (file !== undefined) {
    const chosen = pick(offered, ({ fingerprint }) => file.fingerprints.includes(fingerprint));
    if (chosen === undefined) throw otherAuthority(cluster, offered, "that of the file that you gave");
    return [chosen, "file"];
  }
  const signed = signedByFleet(offered, cluster, sources);
  if (signed !== undefined) return [signed, "fleet"];
  if (sources.ask === undefined) throw untrusted(cluster, "was never seen here, and nobody is there to be asked");
  const answer = await sources.ask(question(cluster.id, offered), options);
  if (!isYes(answer) && !isFingerprintOf(answer, offered)) throw untrusted(cluster, "is not trusted");
  return [offered, "person"];
}

function question(cluster: string, { fingerprints }: Authorities): string {
  return [
    `${cluster} is seen for the first time. The SHA-256 fingerprint of its authority is`,
    ...fingerprints.map((fingerprint) => `  ${fingerprint}`),
    "Compare it with the cluster's administrator. Type yes, or the fingerprint, to trust it: ",
  ].join("\n");
}

/** All that are offered have to be confirmed by one fingerprint: with several, "yes" is for those that were shown. */
function isFingerprintOf(answer: string, { fingerprints }: Authorities): boolean {
  try {
    return fingerprints.length === 1 && parseFingerprint(answer, "the answer") === fingerprints[0];
  } catch {
    return false;
  }
}

/** An authority says that its cluster is the one that a name means: the name has to be this cluster's. */
function requireOwnName({ id, serverName }: Cluster): void {
  if (serverName.startsWith(`${id}.`) && serverName.length > id.length + 1) return;
  throw new ConnectError(
    "CC_RELAY_REFUSED",
    `The relay gives ${id} the server name of another cluster, ${serverName}`,
    {
      hint: "A command for one cluster would run on another: tell the relay's administrator.",
    },
  );
}

/** @throws ConnectError `CC_CLUSTER_UNTRUSTED` when another cluster was accepted with the same authority. */
async function requireUnshared(cluster: Cluster, { keys }: Authorities, { known }: TrustSources): Promise<void> {
  for (const other of await known.all()) {
    if (other.cluster === cluster.id) continue;
    const shared = parseAuthorities(other.authorities, known.path).keys.some((key) => keys.includes(key));
    if (shared) {
      throw untrusted(cluster, `shows the authority of ${other.cluster}`, {
        hint: `A command for one would run on the other. If ${other.cluster} was renamed, take its entry out of ${known.path}.`,
      });
    }
  }
}

/** Those of the offered authorities that a fleet key or a person has chosen; undefined for none. */
function pick(
  offered: Authorities,
  isChosen: (one: { readonly fingerprint: string; readonly key: string }) => boolean,
): Authorities | undefined {
  const blocks = blocksOf(offered).filter((_, index) =>
    isChosen({ fingerprint: offered.fingerprints[index] ?? "", key: offered.keys[index] ?? "" }),
  );
  return blocks.length === 0 ? undefined : parseAuthorities(blocks.join(""), "The chosen authorities");
}

function signedByFleet(offered: Authorities, cluster: Cluster, { fleet }: TrustSources): Authorities | undefined {
  if (fleet === undefined) return undefined;
  const signed = signedAuthorities(cluster.authoritySignatures, fleet.key.publicKey, cluster.id, offered.keys);
  return pick(offered, ({ key }) => signed.has(key));
}

/** @throws ConnectError `CC_CLUSTER_UNTRUSTED` when the fleet key has taken every one of them back. */
function withoutRevoked(authorities: Authorities, cluster: Cluster, { fleet }: TrustSources): Authorities {
  if (fleet === undefined || fleet.revoked.length === 0) return authorities;
  const left = pick(authorities, ({ key }) => !isRevoked(fleet.revoked, cluster.id, key));
  if (left !== undefined) return left;
  throw untrusted(cluster, "has an authority that the fleet key has taken back", {
    hint: "Ask whoever holds the fleet key; the cluster needs a new authority.",
  });
}

/** With further certificates that an accepted key has issued for itself: the key's holder is the accepted one. */
function withRenewed(accepted: Authorities, offered: Authorities, cluster: Cluster): Authorities {
  const renewed = blocksOf(offered).filter((block, index) => {
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

const blocksOf = ({ pem }: Authorities): readonly string[] => pem.split(/(?<=-----END CERTIFICATE-----\n)/);

const isNamed = ({ fingerprints }: Authorities, named: readonly string[] | undefined): boolean =>
  named === undefined || fingerprints.some((fingerprint) => named.includes(fingerprint));

const without = (offered: Authorities, accepted: Authorities): readonly string[] =>
  offered.fingerprints.filter((fingerprint) => !accepted.fingerprints.includes(fingerprint));

/** The authorities a relay announces for a cluster. */
export function offeredAuthorities(cluster: Cluster): Authorities {
  if (cluster.certificateAuthorities === null) {
    throw new ConnectError("CC_AGENT_OFFLINE", `${cluster.id} has not told the relay its certificate authorities yet`);
  }
  const offered = parseAuthorities(cluster.certificateAuthorities, `What the relay says of ${cluster.id}`);
  if (offered.fingerprints.length <= MAX_AUTHORITIES) return offered;
  throw new ConnectError(
    "CC_RELAY_REFUSED",
    `The relay names ${offered.fingerprints.length} authorities of ${cluster.id}`,
    {
      hint: `A cluster has ${MAX_AUTHORITIES} at the most: tell the relay's administrator.`,
    },
  );
}

/**
 * Of the announced authorities, the one with a fingerprint; the others beside it are not trusted with it.
 *
 * @throws ConnectError `CC_CLUSTER_CA_CHANGED` when none has it.
 */
export function authorityWith(fingerprint: string, offered: Authorities, cluster: Cluster): Authorities {
  const chosen = pick(offered, (one) => one.fingerprint === fingerprint);
  if (chosen !== undefined) return chosen;
  throw otherAuthority(cluster, offered, "the one you gave");
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

function untrusted({ id }: Cluster, what: string, options: { readonly hint?: string } = {}): ConnectError {
  return new ConnectError("CC_CLUSTER_UNTRUSTED", `${id} ${what}`, {
    hint:
      options.hint ??
      `Give --cluster-fingerprint ${id}=SHA256 (CLUSTER_CONNECT_CLUSTER_FINGERPRINT). \`cluster-connect connect\` prints it, ` +
        `an administrator reads it with \`cluster-connect clusters trust -n ${id}\`, entries of \`kubeconfig add\` carry it.`,
  });
}

function otherAuthority({ id }: Cluster, offered: Authorities, given: string): ConnectError {
  return new ConnectError(
    "CC_CLUSTER_CA_CHANGED",
    `${id} announces the authority ${offered.fingerprints.join(", ")}, which is not ${given}`,
    { hint: "Compare both with what the cluster's administrator sees in the auth proxy's log." },
  );
}

function changedAuthority(
  cluster: Cluster,
  accepted: Authorities,
  offered: Authorities,
  trustedAt: string,
): ConnectError {
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
