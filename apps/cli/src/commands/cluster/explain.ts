import type { AccessDecision } from "@cluster-connect/api";
import { ConnectError, parseClusterId } from "@cluster-connect/protocol";
import { findClusters, requireNames } from "../../cluster/find.ts";
import { idInGroup } from "../../cluster/group.ts";
import { describePending, pendingLines } from "../../cluster/pending-authority.ts";
import { describeNewTrust, trustCluster } from "../../cluster/trust.ts";
import { type ClusterTrustFlags, loadTrustSources } from "../../cluster/trust-sources.ts";
import { askWhoIAm, type ClusterIdentity } from "../../cluster/who-am-i.ts";
import { fetchAccess, fetchClusters } from "../../relay/api.ts";
import { chooseRelay, type RelayFlags } from "../../relay/choice.ts";
import { connectRelay, type RelayConnection } from "../../relay/connection.ts";
import { printable } from "../../terminal/printable.ts";
import { chooseTokens } from "../../tokens/choose-tokens.ts";
import { findGivenTokens, type TokenFlags } from "../../tokens/given/token-flags.ts";
import { unverifiedClaims } from "../../tokens/stored-token.ts";
import { describeAccess } from "../admin/grants.ts";
import type { CommandContext } from "../context.ts";

export interface ExplainFlags extends RelayFlags, TokenFlags, ClusterTrustFlags {
  readonly name?: readonly string[];
  readonly resourceGroup?: string;
  readonly output: "text" | "json";
}

/** Claims about the caller's identity; the others are the issuer's own business. */
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

/** Shows the claims of the caller's token, and the caller's identity as the cluster sees it. */
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
  const sources = await loadTrustSources(relay.url, flags, { signal }, deps);
  const end = new AbortController();
  let connection: RelayConnection | undefined;
  try {
    const options = { signal: AbortSignal.any([signal, end.signal]) };
    connection = connectRelay({ relay: relay.url, ...options }, { ...deps, tokens });
    const { open: openStream } = connection;
    await connection.ready;
    const seen: Record<string, ClusterIdentity> = {};
    let shown = "";
    for (const cluster of findClusters(names, offered, relay.url.origin, flags.resourceGroup)) {
      const trust = await trustCluster(relay.url.origin, cluster, sources, { ...options, now: deps.now() });
      const { authorities } = trust;
      const { token } = await tokens.token("cluster", { ...options, cluster: cluster.id });
      if (shown === "") shown = token;
      for (const line of [...describeNewTrust(cluster.id, trust), ...pendingLines(cluster)])
        deps.stderr.write(`${printable(line)}\n`);
      const { id, serverName } = cluster;
      const open = async (open: { readonly signal: AbortSignal }): ReturnType<typeof openStream> =>
        await openStream(id, open);
      const end = { cluster: id, serverName, authorities: authorities.pem, token, pending: describePending(cluster) };
      seen[id] = await askWhoIAm(end, options, open);
    }
    deps.stdout.write(flags.output === "json" ? json(shown, access, seen) : text(shown, access, seen));
  } finally {
    end.abort();
    await connection?.closed;
  }
}

function shownClaims(token: string): readonly (readonly [string, unknown])[] {
  const claims = unverifiedClaims(token);
  return SHOWN_CLAIMS.filter((name) => Object.hasOwn(claims, name)).map((name) => [name, claims[name]]);
}

/** The relay's decisions by its grants; none from a relay that does not explain itself yet. */
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
