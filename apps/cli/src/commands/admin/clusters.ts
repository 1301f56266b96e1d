import { ADMIN_AGENT, ADMIN_CLUSTER, DONE, REMOVED_CLUSTER } from "@cluster-connect/api";
import { ConnectError, isClusterUid } from "@cluster-connect/protocol";
import { z } from "zod";
import { parseFingerprint } from "../../cluster/fingerprint.ts";
import { formatAge, type OutputFormat, writeListing } from "../../terminal/listing.ts";
import { printable } from "../../terminal/printable.ts";
import type { CommandContext } from "../context.ts";
import { type AdminFlags, connectAdmin } from "./api.ts";

/** Relays of versions before have no authorities that wait, and do not tell two clusters apart. */
const CLUSTER = ADMIN_CLUSTER.omit({ createdAt: true, lastSeenAt: true }).extend({
  fingerprint: ADMIN_CLUSTER.shape.fingerprint.default(null),
  pendingFingerprints: ADMIN_CLUSTER.shape.pendingFingerprints.default([]),
  pendingSince: ADMIN_CLUSTER.shape.pendingSince.default(null),
  uid: ADMIN_CLUSTER.shape.uid.default(null),
  pendingUid: ADMIN_CLUSTER.shape.pendingUid.default(null),
  pendingUidSince: ADMIN_CLUSTER.shape.pendingUidSince.default(null),
  agents: z.array(ADMIN_AGENT.pick({ instanceId: true, relayId: true, keyId: true })),
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
        { title: "REASON", text: reasonOf },
      ],
    },
    flags.output,
    context.deps,
  );
}

function reasonOf({ reason, pendingFingerprints, pendingUid }: Cluster): string {
  const pending = pendingFingerprints.length === 0 ? undefined : "another authority waits: admin clusters show";
  const duplicate = pendingUid === null ? undefined : "another cluster claims the name: admin clusters show";
  return [reason, pending, duplicate].filter((text) => text != null).join("; ");
}

export interface AdminShowFlags extends AdminFlags {
  readonly output: "text" | "json";
}

/** Shows one cluster with its agents and authorities, and what an administrator may have to decide. */
export async function showCluster(name: string, flags: AdminShowFlags, context: CommandContext): Promise<void> {
  const api = await connectAdmin(flags, context);
  const cluster = await api.send("GET", clusterPath(name), CLUSTER);
  const { stdout } = context.deps;
  if (flags.output === "json") stdout.write(`${JSON.stringify(cluster, undefined, 2)}\n`);
  else for (const line of linesOf(cluster)) stdout.write(`${printable(line)}\n`);
}

function linesOf(cluster: Cluster): readonly string[] {
  const { id, pendingFingerprints, pendingSince, pendingUid, pendingUidSince } = cluster;
  const row = (title: string, text: string): string => `${title.padEnd(12)}${text}`;
  const reason = cluster.reason === null ? "" : `: ${cluster.reason}`;
  return [
    row("name", id),
    row("status", cluster.disabled ? "Disabled" : `${cluster.status}${reason}`),
    row("last seen", lastSeen(cluster)),
    row("labels", labelsText(cluster.labels) || "none"),
    row("keys", String(cluster.validKeys)),
    ...cluster.agents.map(({ instanceId, relayId, keyId }) =>
      row("agent", `${instanceId} at ${relayId}, key ${keyId}`),
    ),
    row("authority", cluster.fingerprint === null ? "none yet" : `SHA-256 ${cluster.fingerprint}`),
    ...pendingFingerprints.flatMap((fingerprint) => [
      row("waiting", `SHA-256 ${fingerprint}, since ${pendingSince ?? "an unknown time"}`),
      `Compare it in the cluster. If it is the cluster's: cluster-connect admin clusters accept ${id} --fingerprint ${fingerprint}`,
      `If not: cluster-connect admin clusters refuse ${id} --fingerprint ${fingerprint}, then revoke the key that announced it (admin audit names it).`,
    ]),
    row("uid", cluster.uid ?? "not known: no agent has told it"),
    ...(pendingUid === null
      ? []
      : [
          row("duplicate", `${pendingUid}, refused since ${pendingUidSince ?? "an unknown time"}`),
          `Another cluster has this name and a key of it: compare with \`kubectl get namespace kube-system -o jsonpath={.metadata.uid}\` there.`,
          `If it takes this one's place: cluster-connect admin clusters accept ${id} --uid ${pendingUid}`,
          `If not: cluster-connect admin clusters refuse ${id} --uid ${pendingUid}, and give it a name and a code of its own.`,
        ]),
  ];
}

export interface AdminDecisionFlags extends AdminFlags {
  /** SHA-256 of the authority that is meant, as the cluster shows it. */
  readonly fingerprint?: string;
  /** UID of the cluster that is meant. */
  readonly uid?: string;
}

/** Accepts or refuses an authority that an agent announced, or another cluster that claims the name. */
export async function decideCluster(
  name: string,
  decision: "accepted" | "rejected",
  flags: AdminDecisionFlags,
  context: CommandContext,
): Promise<void> {
  const { fingerprint, uid } = flags;
  if (fingerprint !== undefined && uid === undefined)
    return await decideAuthority(name, decision, fingerprint, flags, context);
  if (uid !== undefined && fingerprint === undefined) return await decideUid(name, decision, uid, flags, context);
  throw new ConnectError("CC_USAGE", "Give either --fingerprint of an authority or --uid of a cluster", {
    hint: `Type \`cluster-connect admin clusters show ${name}\`: it says what waits.`,
  });
}

/** The fingerprint says which authority was compared. */
async function decideAuthority(
  name: string,
  decision: "accepted" | "rejected",
  typed: string,
  flags: AdminFlags,
  context: CommandContext,
): Promise<void> {
  const fingerprint = parseFingerprint(typed, "--fingerprint");
  const api = await connectAdmin(flags, context);
  await api.send("POST", `${clusterPath(name)}/authorities`, DONE, { fingerprint, decision });
  const said =
    decision === "accepted"
      ? `The authority of ${name} is SHA-256 ${fingerprint} from now on. Callers who trust the former one are stopped until they accept it, or a fleet key signs it.`
      : `The authority SHA-256 ${fingerprint} is refused; ${name} keeps its own. Revoke the key of the agent that announced it, or it announces it again.`;
  context.deps.stderr.write(`${said}\n`);
}

async function decideUid(
  name: string,
  decision: "accepted" | "rejected",
  typed: string,
  flags: AdminFlags,
  context: CommandContext,
): Promise<void> {
  if (!isClusterUid(typed)) throw new ConnectError("CC_USAGE", "--uid is not the UID of a cluster");
  const api = await connectAdmin(flags, context);
  await api.send("POST", `${clusterPath(name)}/uid`, DONE, { uid: typed, decision });
  const said =
    decision === "accepted"
      ? `${name} is the cluster with the UID ${typed} from now on. Tunnels of the former end within seconds, and its agents are refused.`
      : `The cluster with the UID ${typed} stays refused; ${name} is the one that it was.`;
  context.deps.stderr.write(`${said}\n`);
}

const clusterPath = (name: string): string => `/v1/admin/clusters/${encodeURIComponent(name)}`;

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
  const path = clusterPath(name);
  const labels = new Map(Object.entries((await api.send("GET", path, CLUSTER)).labels));
  for (const change of changes) {
    const [, key = "", removed, value] = /^([^=]+?)(?:(-)|=(.*))$/.exec(change) ?? [];
    if (key === "") throw new ConnectError("CC_USAGE", `${change} is neither key=value nor key-`);
    if (removed === undefined) labels.set(key, value ?? "");
    else labels.delete(key);
  }
  const cluster = await api.send("PATCH", path, CLUSTER, { labels: Object.fromEntries(labels) });
  context.deps.stdout.write(`${printable(`${cluster.id} ${labelsText(cluster.labels) || "has no labels"}`)}\n`);
}

/** Disables or enables a cluster. */
export async function switchCluster(
  name: string,
  disabled: boolean,
  flags: AdminFlags,
  context: CommandContext,
): Promise<void> {
  const api = await connectAdmin(flags, context);
  await api.send("PATCH", clusterPath(name), CLUSTER, { disabled });
  const said = disabled ? `${name} is disabled; its tunnels and streams end within seconds.` : `${name} is enabled.`;
  context.deps.stderr.write(`${said}\n`);
}

export interface RemoveFlags extends AdminFlags {
  /** Also while agents of it are connected. */
  readonly force?: boolean;
}

/**
 * Makes the relay forget a cluster.
 *
 * @throws ConnectError `CC_USAGE` without `--force` when agents of it are connected.
 */
export async function removeCluster(name: string, flags: RemoveFlags, context: CommandContext): Promise<void> {
  const api = await connectAdmin(flags, context);
  const path = clusterPath(name);
  const { agents } = await api.send("GET", path, CLUSTER);
  if (agents.length > 0 && flags.force !== true) {
    const count = agents.length === 1 ? "An agent" : `${agents.length} agents`;
    throw new ConnectError("CC_USAGE", `${count} of ${name} ${agents.length === 1 ? "is" : "are"} connected`, {
      hint: "Take the agent out of the cluster with `cluster-connect disconnect` first, or give --force.",
    });
  }
  const { keys, codes } = await api.send("DELETE", path, REMOVED_CLUSTER);
  context.deps.stderr.write(
    `${name} is removed, with its keys (${keys}) and codes (${codes}). Grants that name it stay.\n`,
  );
}
