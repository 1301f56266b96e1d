import { ConnectError } from "@cluster-connect/protocol";
import { z } from "zod";
import type { CommandContext } from "../commands/context.ts";
import { formatAge, type OutputFormat, writeListing } from "../output.ts";
import { type AdminFlags, connectAdmin } from "./api.ts";

const CLUSTER = z.object({
  id: z.string(),
  labels: z.record(z.string(), z.string()),
  disabled: z.boolean(),
  status: z.string(),
  reason: z.string().nullable(),
  lastSeenSeconds: z.number().nullable(),
  validKeys: z.number(),
  agents: z.array(z.object({ instanceId: z.string(), relayId: z.string() })),
});

type Cluster = z.output<typeof CLUSTER>;

export interface AdminListFlags extends AdminFlags {
  readonly output: OutputFormat;
}

/** Lists every cluster of the relay, granted or not. */
export async function listClusters(flags: AdminListFlags, context: CommandContext): Promise<void> {
  const api = await connectAdmin(flags, context);
  await writeListing(
    {
      key: "clusters",
      items: await api.list("/v1/admin/clusters", CLUSTER),
      nameOf: ({ id }) => id,
      none: "There are no clusters yet. Run `cluster-connect admin codes create -n NAME`.",
      columns: [
        { title: "NAME", text: ({ id }) => id },
        { title: "STATUS", text: ({ status, disabled }) => (disabled ? "Disabled" : status) },
        { title: "LAST SEEN", text: lastSeen },
        { title: "AGENTS", text: ({ agents }) => String(agents.length) },
        { title: "KEYS", text: ({ validKeys }) => String(validKeys) },
        { title: "LABELS", text: ({ labels }) => labelsText(labels) },
        { title: "REASON", text: ({ reason }) => reason ?? "" },
      ],
    },
    flags.output,
    context.deps,
  );
}

function lastSeen({ lastSeenSeconds }: Cluster): string {
  return lastSeenSeconds === null ? "never" : lastSeenSeconds < 5 ? "now" : `${formatAge(lastSeenSeconds)} ago`;
}

function labelsText(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(",");
}

/** Sets (`key=value`) and takes away (`key-`) labels, as kubectl does. */
export async function labelCluster(
  name: string,
  changes: readonly string[],
  flags: AdminFlags,
  context: CommandContext,
): Promise<void> {
  const api = await connectAdmin(flags, context);
  const path = `/v1/admin/clusters/${encodeURIComponent(name)}`;
  const labels = new Map(Object.entries((await api.send("GET", path, CLUSTER)).labels));
  for (const change of changes) {
    const [, key = "", removed, value] = /^([^=]+?)(?:(-)|=(.*))$/.exec(change) ?? [];
    if (key === "") throw new ConnectError("CC_USAGE", `${change} is neither key=value nor key-`);
    if (removed === undefined) labels.set(key, value ?? "");
    else labels.delete(key);
  }
  const cluster = await api.send("PATCH", path, CLUSTER, { labels: Object.fromEntries(labels) });
  context.deps.stdout.write(`${cluster.id} ${labelsText(cluster.labels) || "has no labels"}\n`);
}

/** Disables or enables a cluster. */
export async function switchCluster(
  name: string,
  disabled: boolean,
  flags: AdminFlags,
  context: CommandContext,
): Promise<void> {
  const api = await connectAdmin(flags, context);
  await api.send("PATCH", `/v1/admin/clusters/${encodeURIComponent(name)}`, CLUSTER, { disabled });
  const said = disabled ? `${name} is disabled; its tunnels and streams end within seconds.` : `${name} is enabled.`;
  context.deps.stderr.write(`${said}\n`);
}

export interface RemoveFlags extends AdminFlags {
  /** Also while agents of it are connected. */
  readonly force?: boolean;
}

const REMOVED = z.object({ keys: z.number(), codes: z.number() });

/**
 * Makes the relay forget a cluster.
 *
 * @throws ConnectError `CC_USAGE` without `--force` when agents of it are connected.
 */
export async function removeCluster(name: string, flags: RemoveFlags, context: CommandContext): Promise<void> {
  const api = await connectAdmin(flags, context);
  const path = `/v1/admin/clusters/${encodeURIComponent(name)}`;
  const { agents } = await api.send("GET", path, CLUSTER);
  if (agents.length > 0 && flags.force !== true) {
    const count = agents.length === 1 ? "An agent" : `${agents.length} agents`;
    throw new ConnectError("CC_USAGE", `${count} of ${name} ${agents.length === 1 ? "is" : "are"} connected`, {
      hint: "Take the agent out of the cluster with `cluster-connect disconnect` first, or give --force.",
    });
  }
  const { keys, codes } = await api.send("DELETE", path, REMOVED);
  context.deps.stderr.write(
    `${name} is removed, with its keys (${keys}) and codes (${codes}). Grants that name it stay.\n`,
  );
}
