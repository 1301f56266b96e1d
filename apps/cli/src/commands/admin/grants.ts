import { ACCESS_DECISION, type AccessDecision, DONE, GRANT } from "@cluster-connect/api";
import { ConnectError, toConnectError } from "@cluster-connect/protocol";
import { z } from "zod";
import { readTextFile } from "../../files/text-file.ts";
import { parseJson } from "../../json.ts";
import { type OutputFormat, writeListing } from "../../terminal/listing.ts";
import { printable } from "../../terminal/printable.ts";
import type { CommandContext } from "../context.ts";
import { type AdminFlags, connectAdmin } from "./api.ts";

const NAMES = z.array(z.string()).default([]);

const SHOWN_GRANT = GRANT.extend({ clusters: NAMES, users: NAMES, groups: NAMES, servicePrincipals: NAMES });

type ShownGrant = z.output<typeof SHOWN_GRANT>;

export interface GrantsListFlags extends AdminFlags {
  readonly output: OutputFormat;
}

/** Lists grants of every source. */
export async function listGrants(flags: GrantsListFlags, context: CommandContext): Promise<void> {
  const api = await connectAdmin(flags, context);
  await writeListing(
    {
      key: "grants",
      items: await api.list("/v1/admin/grants", SHOWN_GRANT),
      nameOf: ({ id }) => id,
      none: "There are no grants, so nobody reaches any cluster.",
      columns: [
        { title: "ID", text: ({ id }) => id },
        { title: "CLUSTERS", text: ({ clusters, clusterSelector }) => clusterSelector ?? clusters.join(",") },
        { title: "UPSTREAMS", text: ({ upstreams = ["kubernetes"] }) => upstreams.join(",") },
        { title: "WHO", text: whoOf },
        { title: "EXPIRES", text: ({ expiresAt }) => expiresAt ?? "never" },
      ],
    },
    flags.output,
    context.deps,
  );
}

function whoOf({ users, groups, servicePrincipals, condition }: ShownGrant): string {
  const names = [
    ...users.map((name) => `user ${name}`),
    ...groups.map((name) => `group ${name}`),
    ...servicePrincipals.map((name) => `service principal ${name}`),
  ];
  const who = names.length === 0 ? "anybody" : names.join(", ");
  return condition === undefined ? who : `${who} if ${condition}`;
}

export interface GrantsAddFlags extends AdminFlags {
  readonly name?: readonly string[];
  readonly selector?: string;
  readonly upstream?: readonly string[];
  readonly user?: readonly string[];
  readonly group?: readonly string[];
  readonly servicePrincipal?: readonly string[];
  readonly issuer?: string;
  readonly condition?: string;
  readonly expires?: number;
  readonly output: "text" | "json";
}

/** Adds a grant and prints its id. */
export async function addGrant(flags: GrantsAddFlags, context: CommandContext): Promise<void> {
  const { deps } = context;
  const { name, selector, upstream, user, group, servicePrincipal, issuer, condition, expires } = flags;
  if ((name === undefined) === (selector === undefined)) {
    throw new ConnectError("CC_USAGE", "Say for which clusters: either -n or --selector");
  }
  if ([user, group, servicePrincipal, condition].every((one) => one === undefined)) {
    throw new ConnectError("CC_USAGE", "Say for whom: --user, --group, --service-principal or --condition");
  }
  const api = await connectAdmin(flags, context);
  const grant = await api.send("POST", "/v1/admin/grants", SHOWN_GRANT, {
    ...(name === undefined ? {} : { clusters: name }),
    ...(selector === undefined ? {} : { clusterSelector: selector }),
    ...(upstream === undefined ? {} : { upstreams: upstream }),
    ...(user === undefined ? {} : { users: user }),
    ...(group === undefined ? {} : { groups: group }),
    ...(servicePrincipal === undefined ? {} : { servicePrincipals: servicePrincipal }),
    ...(issuer === undefined ? {} : { issuer }),
    ...(condition === undefined ? {} : { condition }),
    ...(expires === undefined ? {} : { expiresAt: new Date(deps.now() + expires * 1_000).toISOString() }),
  });
  deps.stdout.write(flags.output === "json" ? `${JSON.stringify(grant, undefined, 2)}\n` : `${printable(grant.id)}\n`);
}

/** Removes a grant that was added here. */
export async function removeGrant(id: string, flags: AdminFlags, context: CommandContext): Promise<void> {
  const api = await connectAdmin(flags, context);
  await api.send("DELETE", `/v1/admin/grants/${encodeURIComponent(id)}`, DONE);
  context.deps.stderr.write(`Removed ${id}; streams that it allowed end within seconds.\n`);
}

export interface GrantsCheckFlags extends AdminFlags {
  readonly name?: readonly string[];
  readonly upstream?: string;
  readonly user: string;
  readonly group?: readonly string[];
  readonly issuer?: string;
  readonly subject?: string;
  readonly claimsFile?: string;
  readonly output: "text" | "json";
}

/** Says whether and why a caller may reach clusters. @returns the exit code: that of a missing grant when not. */
export async function checkGrants(flags: GrantsCheckFlags, context: CommandContext): Promise<boolean> {
  const { deps } = context;
  const { name = [], user, group = [], issuer = "", subject = "", claimsFile } = flags;
  if (name.length === 0) throw new ConnectError("CC_USAGE", "Name a cluster with -n");
  const api = await connectAdmin(flags, context);
  const claims = claimsFile === undefined ? {} : await readClaims(claimsFile);
  const caller = { username: user, groups: group, issuer, subject, claims };
  const to = flags.upstream === undefined ? {} : { upstream: flags.upstream };
  const decisions: AccessDecision[] = [];
  for (const cluster of name) {
    decisions.push(await api.send("POST", "/v1/admin/grants/check", ACCESS_DECISION, { cluster, ...to, caller }));
  }
  if (flags.output === "json") deps.stdout.write(`${JSON.stringify({ decisions }, undefined, 2)}\n`);
  else deps.stdout.write(decisions.map((decision) => describeAccess(decision, user)).join(""));
  return decisions.every(({ allowed }) => allowed);
}

/** A decision as lines for a person. */
export function describeAccess(decision: AccessDecision, who: string): string {
  const { cluster, allowed, reason, grant, near } = decision;
  const verdict = allowed ? `may reach ${cluster}: ${reason} by ${grant}` : `may not reach ${cluster}: ${reason}`;
  const misses = near.map((miss) => `  ${miss.grant} would allow it, but ${miss.text}`);
  return [`${who} ${verdict}`, ...misses].map((line) => `${printable(line)}\n`).join("");
}

async function readClaims(path: string): Promise<Readonly<Record<string, unknown>>> {
  try {
    return z.record(z.string(), z.unknown()).parse(parseJson(await readTextFile(path)));
  } catch (error) {
    if (error instanceof ConnectError) throw toConnectError(error);
    throw new ConnectError("CC_USAGE", `${path} does not hold a JSON object of claims`);
  }
}
