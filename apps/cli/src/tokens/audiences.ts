import type { LoginSettings } from "@cluster-connect/api";
import {
  type ClusterId,
  ConnectError,
  clusterAudienceOf,
  hasOwnAudiences,
  isAudienceTemplate,
  isClusterAudience,
  parseClusterId,
} from "@cluster-connect/protocol";
import type { PinnedRelay } from "../settings/pinned-relays.ts";
import { shellWord } from "../terminal/shell-word.ts";
import type { Purpose } from "./caller-tokens.ts";

/** Stands for a cluster's id in the clusters' audience, where each cluster has its own. */
const PLACE = "{cluster}";

/** Audiences and issuer that a person has named, by flag or variable. */
export interface NamedLogin {
  readonly relayAudience: string | undefined;
  readonly clusterAudience: string | undefined;
  readonly issuer: string | undefined;
}

/** The audiences that the tokens of one relay have. */
export type Audiences = LoginSettings["audiences"];

/** Sources of audiences, the person's own word first. */
export interface AudienceSources {
  readonly relay: URL;
  readonly named: Pick<NamedLogin, "relayAudience" | "clusterAudience">;
  /** Accepted at the first login. */
  readonly pinned: Partial<Audiences>;
  /** Audiences that the relay announces. */
  readonly announced: Audiences | undefined;
  /** The owner of the tokens: a machine's never have an audience of others that only the relay names. */
  readonly caller: "person" | "machine";
}

/** The audiences that were accepted at the first login, as {@link AudienceSources} takes them. */
export function pinnedAudiences(pinned: PinnedRelay | undefined): Partial<Audiences> {
  return {
    ...(pinned?.relayAudience === undefined ? {} : { relay: pinned.relayAudience }),
    ...(pinned?.clusterAudience === undefined ? {} : { cluster: pinned.clusterAudience }),
  };
}

/**
 * The audience of a token.
 *
 * @throws ConnectError `CC_USAGE` when each cluster has its own and none is named.
 */
export function audienceFor(audiences: Audiences, purpose: Purpose, cluster: ClusterId | undefined): string {
  const audience = audiences[purpose];
  if (purpose === "relay" || !hasOwnAudiences(audience)) return audience;
  if (cluster !== undefined) return clusterAudienceOf(audience, cluster);
  throw new ConnectError("CC_USAGE", "Each cluster takes tokens of its own, and no cluster is named", {
    hint: "Give -n NAME; `cluster-connect clusters` lists the names.",
  });
}

/** The one cluster that an audience belongs to; undefined where it is none's, and where all have the same. */
export function clusterOfAudience(clusters: string, audience: string): ClusterId | undefined {
  if (!hasOwnAudiences(clusters) || !isClusterAudience(clusters, audience)) return undefined;
  const [before = "", after = ""] = clusters.split(PLACE);
  return parseClusterId(audience.slice(before.length, audience.length - after.length));
}

/**
 * The audiences of tokens that a sign-in gets for clusters.
 *
 * @param clusters that are named at the login; they count where each has an audience of its own.
 */
export function clusterAudiences({ cluster }: Audiences, clusters: readonly ClusterId[]): readonly string[] {
  return hasOwnAudiences(cluster) ? [...new Set(clusters)].map((id) => clusterAudienceOf(cluster, id)) : [cluster];
}

/**
 * The relay's audience: the person's, the pinned one, else the relay's own address.
 *
 * @throws ConnectError `CC_AUDIENCE_REFUSED` for another that only the relay names.
 * @see RFC 8707, RFC 9728 section 3.3
 */
export function acceptRelayAudience({ relay, named, pinned, announced }: AudienceSources): string {
  if (named.relayAudience !== undefined) return named.relayAudience;
  const said = announced?.relay;
  if (pinned.relay !== undefined) return unchanged("relay", pinned.relay, said, relay);
  if (said === undefined) return relay.origin;
  if (said === relay.origin || said === `${relay.origin}/`) return said;
  throw refusedAudience(`The relay asks for a token for ${shellWord(said)}, which is not its own address`, {
    hint: `A token for somebody else would reach the relay. If its administrator says so too: --relay-audience ${shellWord(said)} (CLUSTER_CONNECT_RELAY_AUDIENCE)`,
  });
}

/**
 * The clusters' audience: the person's, the pinned one, else the relay's. For a machine that has to be an address below
 * the relay's own.
 *
 * @throws ConnectError `CC_AUDIENCE_REFUSED`, and `CC_USAGE` when no source names one.
 */
export function acceptClusterAudience({ relay, named, pinned, announced, caller }: AudienceSources): string {
  if (named.clusterAudience !== undefined) return requireTemplate(named.clusterAudience);
  const said = announced?.cluster;
  if (pinned.cluster !== undefined) return unchanged("cluster", pinned.cluster, said, relay);
  if (said === undefined) {
    throw new ConnectError("CC_USAGE", "Nothing says which audience the clusters take", {
      hint: "Give --cluster-audience, or set CLUSTER_CONNECT_CLUSTER_AUDIENCE.",
    });
  }
  if (caller === "person" || said.startsWith(`${relay.origin}/`)) return said;
  throw refusedAudience(`Only the relay says that clusters take tokens for ${shellWord(said)}`, {
    hint: `Ask the clusters' administrator; if it is so: --cluster-audience ${shellWord(said)} (CLUSTER_CONNECT_CLUSTER_AUDIENCE)`,
  });
}

/** @throws ConnectError `CC_AUDIENCE_REFUSED` when the relay's tokens would work at a cluster. */
export function requireTwoAudiences(audiences: Audiences): Audiences {
  if (!isClusterAudience(audiences.cluster, audiences.relay)) return audiences;
  throw refusedAudience(`Relay and clusters would take the same tokens, for ${shellWord(audiences.relay)}`, {
    hint: "Have relay and clusters configured for different audiences: otherwise the relay could use your token at a cluster.",
  });
}

function requireTemplate(audience: string): string {
  if (isAudienceTemplate(audience)) return audience;
  throw new ConnectError("CC_USAGE", "--cluster-audience holds {cluster} more than once");
}

function unchanged(purpose: Purpose, pinned: string, said: string | undefined, relay: URL): string {
  if (said === undefined || said === pinned) return pinned;
  const whose = purpose === "relay" ? "its tokens" : "the clusters' tokens";
  throw refusedAudience(
    `${relay.host} says that ${whose} are for ${shellWord(said)} now; so far they were for ${shellWord(pinned)}`,
    {
      hint: `If the administrator says so too: cluster-connect login --relay ${relay.origin} --${purpose}-audience ${shellWord(said)}`,
    },
  );
}

function refusedAudience(message: string, options: { readonly hint: string }): ConnectError {
  return new ConnectError("CC_AUDIENCE_REFUSED", message, options);
}
