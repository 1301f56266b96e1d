import { type ClusterId, ConnectError, parseClusterId } from "@cluster-connect/protocol";
import type { CliDeps } from "../deps.ts";
import { readTextFile } from "../files/text-file.ts";
import { type Fleet, loadFleet } from "../fleet/fleet.ts";
import { foldersOf } from "../settings/folders.ts";
import { type Confirm, confirmAt } from "../terminal/confirm.ts";
import { type Authorities, parseAuthorities } from "./authorities.ts";
import { parseFingerprint } from "./fingerprint.ts";
import { type KnownClusters, openKnownClusters } from "./known-clusters.ts";

/** Flags that say which authority a cluster has, so that the relay's word is not needed. */
export interface ClusterTrustFlags {
  /** `NAME=SHA256`. */
  readonly clusterFingerprint?: readonly string[];
  /** `[NAME=]PATH`. */
  readonly clusterCaFile?: readonly string[];
  /** The public key, or a file with it. */
  readonly fleetKey?: string;
  readonly fleetRevocations?: string;
}

/** Everything besides the relay's word that can say which authority a cluster has. */
export interface TrustSources {
  readonly known: KnownClusters;
  readonly fingerprints: ReadonlyMap<ClusterId, readonly string[]>;
  /** The authorities of a file that was given for this cluster, or for whichever is named. */
  readonly fileFor: (cluster: ClusterId) => Authorities | undefined;
  readonly fleet: Fleet | undefined;
  /** Undefined where there is no terminal, and in a job. */
  readonly ask: Confirm | undefined;
}

/**
 * Reads the clusters' authorities from flags and variables, and those that were pinned before.
 *
 * @throws ConnectError `CC_USAGE` for a wrong fingerprint, `CC_FLEET_KEY_INVALID`, `CC_REVOCATIONS_REFUSED`,
 *   `CC_FILE_MISSING`.
 */
export async function loadTrustSources(
  relay: URL,
  flags: ClusterTrustFlags,
  options: { readonly signal: AbortSignal },
  deps: CliDeps,
): Promise<TrustSources> {
  const given = flags.clusterFingerprint ?? words(deps.env["CLUSTER_CONNECT_CLUSTER_FINGERPRINT"]);
  const files = flags.clusterCaFile ?? words(deps.env["CLUSTER_CONNECT_CLUSTER_CA_FILE"]);
  const read = new Map<ClusterId | undefined, Authorities>();
  for (const text of files) {
    const [cluster, path] = splitFile(text);
    read.set(cluster, parseAuthorities(await readTextFile(path), path));
  }
  return {
    known: openKnownClusters(foldersOf(deps)),
    fingerprints: parseFingerprints(given, flags.clusterFingerprint === undefined),
    fileFor: (cluster) => read.get(cluster) ?? read.get(undefined),
    fleet: await loadFleet(relay, flags, options, deps),
    ask: confirmAt(deps),
  };
}

function parseFingerprints(given: readonly string[], isVariable: boolean): ReadonlyMap<ClusterId, readonly string[]> {
  const where = isVariable ? "CLUSTER_CONNECT_CLUSTER_FINGERPRINT" : "--cluster-fingerprint";
  const found = new Map<ClusterId, readonly string[]>();
  for (const text of given) {
    const at = text.indexOf("=");
    if (at < 1) {
      throw new ConnectError("CC_USAGE", `${where} names no cluster`, {
        hint: `Give it as NAME=SHA256, such as ${where === "--cluster-fingerprint" ? `${where} prod=5B:C2:…` : "prod=5B:C2:…"}`,
      });
    }
    const cluster = parseClusterId(text.slice(0, at));
    const fingerprint = parseFingerprint(text.slice(at + 1), `${where} of ${cluster}`);
    found.set(cluster, [...(found.get(cluster) ?? []), fingerprint]);
  }
  return found;
}

function splitFile(text: string): readonly [cluster: ClusterId | undefined, path: string] {
  const [, name, path] = /^([a-z0-9][a-z0-9-]*)=(.+)$/.exec(text) ?? [];
  return name === undefined || path === undefined ? [undefined, text] : [parseClusterId(name), path];
}

/** Values of a variable, separated by blanks, line ends or commas. */
function words(value: string | undefined): readonly string[] {
  return (value ?? "").split(/[\s,]+/).filter((word) => word !== "");
}
