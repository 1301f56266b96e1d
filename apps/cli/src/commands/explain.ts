import { ConnectError, parseClusterId } from "@cluster-connect/protocol";
import { describeAccess } from "../admin/grants.ts";
import { findClusters, requireNames } from "../clusters/find.ts";
import { idInGroup } from "../clusters/group.ts";
import { openKnownClusters } from "../clusters/known-clusters.ts";
import { describeFirstSeen, trustCluster } from "../clusters/trust.ts";
import { askWhoIAm, type ClusterIdentity } from "../clusters/who-am-i.ts";
import { type AccessDecision, fetchAccess, fetchClusters } from "../relay-api.ts";
import { connectRelay, type RelayLink } from "../relay-link.ts";
import { foldersOf } from "../settings/folders.ts";
import { chooseRelay, type RelayFlags } from "../settings/relay-choice.ts";
import { chooseTokens } from "../tokens/choose-tokens.ts";
import { unverifiedClaims } from "../tokens/stored-token.ts";
import { findGivenTokens, type TokenFlags } from "../tokens/token-flags.ts";
import type { CommandContext } from "./context.ts";

export interface ExplainFlags extends RelayFlags, TokenFlags {
  readonly name?: readonly string[];
  readonly resourceGroup?: string;
  readonly output: "text" | "json";
}

/** Claims that say who somebody is; the others are the issuer's own business. */
const SHOWN_CLAIMS = [
  "iss",
  "aud",
  "sub",
  "preferred_username",
  "email",
  "upn",
  "oid",
  "tid",
  "groups",
  "roles",
  "exp",
];

/** Shows what the caller's token says, and who the cluster takes them for. */
export async function explain(flags: ExplainFlags, { deps, signal }: CommandContext): Promise<void> {
  const names = requireNames(flags.name);
  const relay = await chooseRelay(flags, deps);
  const tokens = chooseTokens(relay.url, await findGivenTokens(flags, deps), deps);
  const { token: relayToken } = await tokens.token("relay", { signal });
  const offered = await fetchClusters(relay.url, relayToken, { signal }, deps);
  const ids = offered.map(({ id }) => id);
  const meant = names.map((name) => idInGroup(name, flags.resourceGroup, ids));
  const access = await accessTo(meant, relay.url, relayToken, { deps, signal });
  for (const decision of access) if (!decision.allowed) deps.stderr.write(describeAccess(decision, "You"));
  const known = openKnownClusters(foldersOf(deps));
  const end = new AbortController();
  let link: RelayLink | undefined;
  try {
    const options = { signal: AbortSignal.any([signal, end.signal]) };
    link = connectRelay({ relay: relay.url, ...options }, { ...deps, tokens });
    const { open: openStream } = link;
    await link.ready;
    const seen: Record<string, ClusterIdentity> = {};
    const { token } = await tokens.token("cluster", options);
    for (const cluster of findClusters(names, offered, relay.url.origin, flags.resourceGroup)) {
      const trust = await trustCluster(relay.url.origin, cluster, known, { ...options, now: deps.now() });
      const { authorities } = trust;
      if (trust.isNew) for (const line of describeFirstSeen(cluster.id, authorities)) deps.stderr.write(`${line}\n`);
      const { id, serverName } = cluster;
      const open = async (open: { readonly signal: AbortSignal }): ReturnType<typeof openStream> =>
        await openStream(id, open);
      seen[id] = await askWhoIAm({ cluster: id, serverName, authorities: authorities.pem, token }, options, open);
    }
    deps.stdout.write(flags.output === "json" ? json(token, access, seen) : text(token, access, seen));
  } finally {
    end.abort();
    await link?.closed;
  }
}

function shownClaims(token: string): readonly (readonly [string, unknown])[] {
  const claims = unverifiedClaims(token);
  return SHOWN_CLAIMS.filter((name) => Object.hasOwn(claims, name)).map((name) => [name, claims[name]]);
}

/** What the relay says about grants; nothing from one that does not explain itself yet. */
async function accessTo(
  names: readonly string[],
  relay: URL,
  token: string,
  { deps, signal }: Pick<CommandContext, "deps" | "signal">,
): Promise<readonly AccessDecision[]> {
  try {
    return await Promise.all(names.map((name) => fetchAccess(relay, token, parseClusterId(name), { signal }, deps)));
  } catch (error) {
    if (error instanceof ConnectError && error.code === "CC_RELAY_REFUSED") return [];
    throw error;
  }
}

function json(
  token: string,
  access: readonly AccessDecision[],
  seen: Readonly<Record<string, ClusterIdentity>>,
): string {
  const claims = Object.fromEntries(shownClaims(token));
  return `${JSON.stringify({ claims, access, clusters: seen }, undefined, 2)}\n`;
}

function text(
  token: string,
  access: readonly AccessDecision[],
  seen: Readonly<Record<string, ClusterIdentity>>,
): string {
  const claims = shownClaims(token).map(([name, value]) => row(name, JSON.stringify(value)));
  const clusters = Object.entries(seen).flatMap(([id, { username, groups, uid, extra }]) => [
    `\n${id} takes you for\n`,
    row("username", username),
    ...groups.map((group) => row("group", group)),
    ...(uid === undefined ? [] : [row("uid", uid)]),
    ...Object.entries(extra).map(([key, values]) => row("extra", `${key} = ${values.join(", ")}`)),
  ]);
  const grants = access.flatMap((decision) => ["\n", describeAccess(decision, "You")]);
  return ["Your token for clusters says\n", ...claims, ...grants, ...clusters].join("");
}

function row(name: string, value: string): string {
  return `  ${name.padEnd(20)} ${value}\n`;
}
