import { buffer } from "node:stream/consumers";
import { type ClusterId, ConnectError, decodeProbe, type HopHealth, UPSTREAM_PROBE } from "@cluster-connect/protocol";
import { describeDuplicate } from "../cluster/duplicate.ts";
import { describePending } from "../cluster/pending-authority.ts";
import { checkReady } from "../cluster/ready.ts";
import type { ClusterEnd, OpenClusterStream } from "../cluster/request.ts";
import { countRules } from "../cluster/rules.ts";
import { type TrustedBy, trustCluster } from "../cluster/trust.ts";
import type { TrustSources } from "../cluster/trust-sources.ts";
import { askWhoIAm } from "../cluster/who-am-i.ts";
import type { Cluster } from "../relay/api.ts";
import type { RelayConnection } from "../relay/connection.ts";
import { formatAge } from "../terminal/listing.ts";
import type { DoctorReport, Finding } from "./report.ts";

const TRUSTED_BY: Readonly<Record<TrustedBy, string>> = {
  before: "",
  fingerprint: ", by its fingerprint",
  file: ", by the file that was given",
  fleet: ", signed by the fleet key",
  person: ", as you confirmed",
};

/** The namespace that every person looks at first. */
const NAMESPACE = "default";

export interface ClusterCheck {
  readonly relay: string;
  readonly cluster: Cluster;
  /** For the clusters' audience; undefined when there is none. */
  readonly token: string | undefined;
  readonly connection: RelayConnection;
  readonly sources: TrustSources;
  readonly now: number;
}

/** Checks a cluster hop by hop, from the relay's word about it to its own word about the caller. */
export async function checkCluster(
  check: ClusterCheck,
  report: DoctorReport,
  options: { readonly signal: AbortSignal },
): Promise<void> {
  const { cluster, connection, token } = check;
  const name = (hop: string): string => `${cluster.id}: ${hop}`;
  await report.check(name("agent"), async () => tellAgent(cluster));
  const duplicate = describeDuplicate(cluster);
  if (duplicate !== undefined) {
    const finding = { value: true, detail: duplicate.text, warning: duplicate.hint };
    await report.check(name("name"), async () => finding);
  }
  await checkHops(cluster.id, connection, report, options);
  const pending = describePending(cluster);
  const trust = await report.check(name("trust"), async () => {
    const found = await trustCluster(check.relay, cluster, check.sources, { ...options, now: check.now });
    const fingerprint = found.authorities.fingerprints[0] ?? "";
    const detail = `SHA-256 ${fingerprint}${TRUSTED_BY[found.by]}`;
    if (pending === undefined) return { value: found, detail };
    return { value: found, detail: `${detail}. ${pending.text}`, warning: pending.hint };
  });
  if (trust === undefined || token === undefined) {
    const reason = token === undefined ? "there is no token for clusters" : "its authority is not trusted";
    for (const hop of ["kube-apiserver", "identity", "permissions"]) report.skip(name(hop), reason);
    return;
  }
  const end: ClusterEnd = {
    cluster: cluster.id,
    serverName: cluster.serverName,
    authorities: trust.authorities.pem,
    token,
    pending,
  };
  const open = async ({ signal }: { readonly signal: AbortSignal }): ReturnType<RelayConnection["open"]> =>
    await connection.open(cluster.id, { signal });
  await report.check(name("kube-apiserver"), async () => {
    const { version, durationMs } = await checkReady(end, options, open);
    return {
      value: true,
      detail: `${version ?? "version not shown to you"}, answered in ${Math.round(durationMs)} ms`,
    };
  });
  const identity = await report.check(name("identity"), async () => {
    const value = await askWhoIAm(end, options, open);
    return {
      value,
      detail: `${value.username}, groups ${value.groups.length === 0 ? "none" : value.groups.join(", ")}`,
    };
  });
  if (identity === undefined) report.skip(name("permissions"), "the cluster does not say who you are");
  else await report.check(name("permissions"), async () => await checkRules(identity.username, end, options, open));
}

/** The way is open, yet a person without any role can do nothing: say what an administrator would type. */
async function checkRules(
  username: string,
  end: ClusterEnd,
  options: { readonly signal: AbortSignal },
  open: OpenClusterStream,
): Promise<Finding<number>> {
  const value = await countRules(end, NAMESPACE, options, open);
  if (value > 0) return { value, detail: `${value} rules let you do something in the namespace ${NAMESPACE}` };
  return {
    value,
    detail: `no role is bound to you in the namespace ${NAMESPACE}`,
    warning: `Ask the cluster's administrator, for instance: kubectl create rolebinding NAME -n ${NAMESPACE} --clusterrole=view --user='${username}'`,
  };
}

function tellAgent(cluster: Cluster): { value: true; detail: string; warning?: string } {
  const { status, agents, lastSeenSeconds, reason } = cluster;
  if (status === "offline") {
    const seen = lastSeenSeconds === null ? "it was never seen" : `last seen ${formatAge(lastSeenSeconds)} ago`;
    throw new ConnectError("CC_AGENT_OFFLINE", `no agent is connected; ${seen}`, {
      hint: "Look at the agent's log in the cluster: can it reach the relay?",
    });
  }
  const since = agents[0]?.since ?? cluster.since ?? "an unknown time";
  const detail = `${agents.length} connected, since ${since}`;
  if (status === "connected") return { value: true, detail };
  return {
    value: true,
    detail: `${detail}; ${status}`,
    warning: reason ?? "The next checks tell which hop is missing.",
  };
}

/** The agent's own answer about the way behind it. */
async function checkHops(
  cluster: ClusterId,
  connection: RelayConnection,
  report: DoctorReport,
  options: { readonly signal: AbortSignal },
): Promise<void> {
  const document = await report.check(`${cluster}: probe`, async () => {
    const startedAt = performance.now();
    const stream = await connection.open(cluster, { ...options, upstream: UPSTREAM_PROBE });
    await stream.accepted;
    const acceptedMs = Math.round(performance.now() - startedAt);
    stream.end();
    const found = decodeProbe(await buffer(stream));
    return { value: found, detail: `to the agent and back in ${acceptedMs} ms` };
  });
  if (document === undefined) return;
  await report.check(`${cluster}: auth proxy`, async () => tellHop(document.authProxy, "CC_UPSTREAM_UNREACHABLE"));
  await report.check(`${cluster}: auth proxy to kube-apiserver`, async () =>
    tellHop(document.apiserver, "CC_APISERVER_UNREACHABLE"),
  );
}

function tellHop(
  hop: HopHealth,
  code: "CC_UPSTREAM_UNREACHABLE" | "CC_APISERVER_UNREACHABLE",
): { value: true; detail: string } {
  const text = hop.text.replaceAll(/[\s\p{Cc}]+/gu, " ");
  if (hop.ok) return { value: true, detail: text };
  throw new ConnectError(code, text);
}
