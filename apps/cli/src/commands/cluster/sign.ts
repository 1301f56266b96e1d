import { ADMIN_CLUSTER, SIGNATURES_FIELD } from "@cluster-connect/api";
import { type ClusterId, ConnectError, parseClusterId } from "@cluster-connect/protocol";
import { type Authorities, parseAuthorities } from "../../cluster/authorities.ts";
import { parseFingerprint } from "../../cluster/fingerprint.ts";
import { openKnownClusters } from "../../cluster/known-clusters.ts";
import { authorityWith, offeredAuthorities } from "../../cluster/trust.ts";
import { signAuthority, signedAuthorities } from "../../fleet/authority-signature.ts";
import { loadFleet } from "../../fleet/fleet.ts";
import { readFleetPrivateKey } from "../../fleet/fleet-key.ts";
import { isRevoked } from "../../fleet/revocations.ts";
import { fetchClusters } from "../../relay/api.ts";
import { chooseRelay } from "../../relay/choice.ts";
import { foldersOf } from "../../settings/folders.ts";
import { chooseTokens } from "../../tokens/choose-tokens.ts";
import { findGivenTokens } from "../../tokens/given/token-flags.ts";
import { type AdminFlags, connectAdmin } from "../admin/api.ts";
import type { CommandContext } from "../context.ts";

export interface SignFlags extends AdminFlags {
  readonly name: string;
  readonly fleetKeyFile?: string;
  /** Which of the announced authorities is signed; without it, the one that is trusted here. */
  readonly fingerprint?: string;
  /** Made elsewhere, where the key is. */
  readonly signature?: string;
}

/**
 * Signs a cluster's authority with the fleet key and gives the relay the signature, which hands it on to callers.
 *
 * @throws ConnectError `CC_CLUSTER_UNTRUSTED` when nothing but the relay says which authority the cluster has.
 */
export async function signCluster(flags: SignFlags, context: CommandContext): Promise<void> {
  const cluster = parseClusterId(flags.name);
  if ((flags.fleetKeyFile === undefined) === (flags.signature === undefined)) {
    throw new ConnectError("CC_USAGE", "Give either --fleet-key-file or --signature");
  }
  const signed = flags.signature === undefined ? await authorityToSign(cluster, flags, context) : undefined;
  const signatures =
    signed === undefined ? (flags.signature ?? "") : await signAuthorities(flags.fleetKeyFile ?? "", cluster, signed);
  if (!SIGNATURES_FIELD.safeParse(signatures).success) throw new ConnectError("CC_USAGE", "--signature is none");
  await requireFleetSignatures(signatures, cluster, signed, flags, context);
  await sendSignatures(cluster, signatures, flags, context);
  context.deps.stdout.write(`${signatures}\n`);
  context.deps.stderr.write(
    `The authority of ${cluster} is signed; whoever has the fleet key trusts it from now on.\n`,
  );
}

/** A signature for each authority, separated by blanks. */
export async function signAuthorities(path: string, cluster: ClusterId, { keys }: Authorities): Promise<string> {
  const key = await readFleetPrivateKey(path);
  return [...new Set(keys)].map((authorityKey) => signAuthority(key, cluster, authorityKey)).join(" ");
}

/** Gives them to the relay, by its route for administrators. */
export async function sendSignatures(
  cluster: ClusterId,
  authoritySignatures: string,
  flags: AdminFlags,
  context: CommandContext,
): Promise<void> {
  const api = await connectAdmin(flags, context);
  await api.send("PATCH", `/v1/admin/clusters/${cluster}`, ADMIN_CLUSTER.pick({ id: true }), { authoritySignatures });
}

/**
 * Callers take no other signature, so it is not given to the relay where the fleet key is known.
 *
 * @param signed the authority that was signed here; without it, the one that is trusted here.
 * @throws ConnectError `CC_FLEET_KEY_INVALID`, `CC_CLUSTER_UNTRUSTED` for an authority that the key has taken back,
 *   `CC_REVOCATIONS_REFUSED` for a list that is older than the newest one that was seen.
 */
async function requireFleetSignatures(
  signatures: string,
  cluster: ClusterId,
  signed: Authorities | undefined,
  flags: SignFlags,
  { deps, signal }: CommandContext,
): Promise<void> {
  const { url } = await chooseRelay(flags, deps);
  const fleet = await loadFleet(url, {}, { signal }, deps);
  const authorities = signed ?? (await trustedAuthority(url, cluster, deps));
  if (fleet === undefined || authorities === undefined) return;
  const keys = [...signedAuthorities(signatures, fleet.key.publicKey, cluster, authorities.keys)];
  if (keys.length === 0) {
    throw new ConnectError(
      "CC_FLEET_KEY_INVALID",
      `The fleet key that is known here has not signed the authority of ${cluster}`,
      { hint: "It was signed by another key, for another cluster, or before the cluster got its present authority." },
    );
  }
  if (keys.some((key) => !isRevoked(fleet.revoked, cluster, key))) return;
  throw new ConnectError("CC_CLUSTER_UNTRUSTED", `The fleet key has taken the authority of ${cluster} back`, {
    hint: "The cluster needs a new authority, which is signed then.",
  });
}

async function trustedAuthority(
  relay: URL,
  cluster: ClusterId,
  deps: CommandContext["deps"],
): Promise<Authorities | undefined> {
  const known = openKnownClusters(foldersOf(deps));
  const found = await known.find(relay.origin, cluster);
  return found === undefined ? undefined : parseAuthorities(found.authorities, known.path);
}

/** Never one that only the relay names: the signature would make every machine believe it. */
async function authorityToSign(
  cluster: ClusterId,
  flags: SignFlags,
  { deps, signal }: CommandContext,
): Promise<Authorities> {
  const relay = await chooseRelay(flags, deps);
  if (flags.fingerprint === undefined) {
    const found = await trustedAuthority(relay.url, cluster, deps);
    if (found !== undefined) return found;
    throw new ConnectError("CC_CLUSTER_UNTRUSTED", `${cluster} is not trusted here`, {
      hint: `Give --fingerprint SHA256, as the cluster's administrator told you, or sign it with \`cluster-connect connect --fleet-key-file\`.`,
    });
  }
  const fingerprint = parseFingerprint(flags.fingerprint, "--fingerprint");
  const { token } = await chooseTokens(relay.url, await findGivenTokens(flags, deps), deps).token("relay", { signal });
  const offered = (await fetchClusters(relay.url, token, { signal }, deps)).find(({ id }) => id === cluster);
  if (offered === undefined)
    throw new ConnectError("CC_CLUSTER_UNKNOWN", `${relay.url.host} knows no cluster ${cluster}`);
  return authorityWith(fingerprint, offeredAuthorities(offered), offered);
}
