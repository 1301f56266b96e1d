import type { Clock } from "@cluster-connect/base";
import { type ClusterUid, ConnectError } from "@cluster-connect/protocol";
import { errorFields, type Logger } from "@cluster-connect/service";
import type { AuditLog } from "../audit/audit-log.ts";
import type { ValidAgentKey } from "../store/queries/agent-keys.ts";
import type { Store } from "../store/store.ts";
import { announceClusterUid, listClusterUids } from "../store/uids/cluster-uids.ts";
import type { Tunnel } from "./tunnels.ts";

/** Text for an agent that serves another cluster than the one the name stands for. */
const DUPLICATE_TEXT =
  "Another cluster has this name and key: an administrator of the relay decides which of the two it stands for";

export interface ClusterUidDeps {
  readonly store: Store;
  readonly audit: Pick<AuditLog, "record">;
  readonly log: Logger;
  readonly clock: Pick<Clock, "now">;
}

/**
 * Lets an agent in whose cluster is the one that its name stands for. An agent that tells no UID is let in as well: one
 * of the version before, or one whose auth proxy may not read it. While the store is away the UID that was last known
 * counts.
 *
 * @throws ConnectError `CC_CLUSTER_DUPLICATE` for another cluster, which waits for an administrator then.
 */
export async function refuseOtherCluster(
  key: ValidAgentKey,
  uid: ClusterUid | undefined,
  { store, audit, log, clock }: ClusterUidDeps,
): Promise<void> {
  const { clusterId, keyId } = key;
  if (uid === undefined || (uid === key.clusterUid && !key.setsClusterUid)) return;
  const at = new Date(clock.now());
  const announced = await announceClusterUid(store.db, { clusterId, keyId, uid }, at).catch((error: unknown) => {
    log.error({ event: "cluster.uid.failed", clusterId, ...errorFields(error) }, "the cluster's UID is not kept");
    const accepted = key.clusterUid === undefined || key.clusterUid === uid || key.setsClusterUid;
    return { accepted, isNews: false, former: key.clusterUid };
  });
  const { accepted, isNews, former: formerUid } = announced;
  if (isNews) {
    const event = accepted ? "cluster.uid.set" : "cluster.uid.pending";
    if (accepted) log.info({ event, clusterId, keyId, uid, formerUid }, "the cluster's UID is known");
    else log.warn({ event, clusterId, keyId, uid, formerUid }, "another cluster claims the name and is refused");
    audit.record({ event, actor: keyId, clusterId, at, uid, formerUid });
  }
  if (!accepted) throw new ConnectError("CC_CLUSTER_DUPLICATE", DUPLICATE_TEXT);
}

/** Ends the tunnels to clusters that their names do not stand for any more, at whichever relay that was decided. */
export async function closeOtherClusters(
  tunnels: readonly Tunnel[],
  { store, log }: Pick<ClusterUidDeps, "store" | "log">,
): Promise<void> {
  const telling = tunnels.filter(({ clusterUid }) => clusterUid !== undefined);
  const known = await listClusterUids(store.db, [...new Set(telling.map(({ clusterId }) => clusterId))]);
  for (const { clusterId, clusterUid, keyId, instanceId, session } of telling) {
    const own = known.get(clusterId);
    if (own === undefined || own.uid === clusterUid || own.decidedBy === keyId) continue;
    const fields = { event: "tunnel.duplicate", clusterId, keyId, agentInstanceId: instanceId, uid: clusterUid };
    log.warn(fields, "tunnel closed: the name stands for another cluster");
    session.close("CC_CLUSTER_DUPLICATE", DUPLICATE_TEXT);
  }
}
