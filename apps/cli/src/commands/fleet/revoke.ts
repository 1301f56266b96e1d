import { createPublicKey } from "node:crypto";
import { ConnectError, parseClusterId } from "@cluster-connect/protocol";
import { parseAuthorities } from "../../cluster/authorities.ts";
import { openKnownClusters } from "../../cluster/known-clusters.ts";
import type { ClusterTrustFlags } from "../../cluster/trust-sources.ts";
import { writePrivateFile } from "../../files/private-file.ts";
import { readTextFileIfAny } from "../../files/text-file.ts";
import { readFleetPrivateKey, textOf } from "../../fleet/fleet-key.ts";
import { formatRevocations, isRevoked, parseRevocations } from "../../fleet/revocations.ts";
import { chooseRelay, type RelayFlags } from "../../relay/choice.ts";
import { foldersOf } from "../../settings/folders.ts";
import type { CommandContext } from "../context.ts";

export interface RevokeFlags extends RelayFlags, Pick<ClusterTrustFlags, "clusterCaFile"> {
  readonly name: string;
  readonly fleetKeyFile: string;
  /** The list: a new one, or the one that is added to. */
  readonly list: string;
  /** File with the authority; without it, the one that is trusted here. */
  readonly authority?: string;
}

/**
 * Takes a cluster's authority back: adds it to a list that the fleet key signs, with the next number.
 *
 * @throws ConnectError `CC_REVOCATIONS_REFUSED` for a list of another key, `CC_CLUSTER_UNKNOWN` without an authority.
 */
export async function revokeAuthority(flags: RevokeFlags, { deps }: CommandContext): Promise<void> {
  const cluster = parseClusterId(flags.name);
  const key = await readFleetPrivateKey(flags.fleetKeyFile);
  const { keys } = parseAuthorities(await authorityText(flags, deps), flags.authority ?? cluster);
  const before = await readTextFileIfAny(flags.list);
  const own = { text: textOf(key), publicKey: createPublicKey(key) };
  const list = before === undefined ? undefined : parseRevocations(before, flags.list, own);
  const revoked = list?.revoked ?? [];
  const added = keys
    .filter((authorityKey) => !isRevoked(revoked, cluster, authorityKey))
    .map((authorityKey) => ({ cluster, authorityKey }));
  const serial = (list?.serial ?? 0) + 1;
  const issuedAt = new Date(deps.now()).toISOString();
  await writePrivateFile(flags.list, formatRevocations({ serial, issuedAt, revoked: [...revoked, ...added] }, key));
  deps.stderr.write(`${flags.list} is number ${serial}; callers take it with --fleet-revocations, and none older.\n`);
}

async function authorityText(flags: RevokeFlags, deps: CommandContext["deps"]): Promise<string> {
  if (flags.authority !== undefined) return (await readTextFileIfAny(flags.authority)) ?? "";
  const relay = await chooseRelay(flags, deps);
  const found = await openKnownClusters(foldersOf(deps)).find(relay.url.origin, parseClusterId(flags.name));
  if (found !== undefined) return found.authorities;
  throw new ConnectError("CC_CLUSTER_UNKNOWN", `No authority of ${flags.name} is trusted here`, {
    hint: "Give it with --authority FILE.",
  });
}
