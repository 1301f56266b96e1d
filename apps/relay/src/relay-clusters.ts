import { Registry } from "./agents/tunnels.ts";
import type { RelayConfig } from "./config.ts";
import { type Notifications, type NotificationsDeps, openNotifications } from "./notify/cluster-webhook.ts";
import { createFleet, type Fleet, type FleetDeps } from "./peers/fleet.ts";
import { createStatusFeed, type StatusFeed } from "./status/feed.ts";
import { createStatusWatch, type StatusWatch } from "./status/watch.ts";

/** The state of clusters: the tunnels of this relay and of the others, and the receivers of changes. */
export interface RelayClusters {
  readonly registry: Registry;
  readonly fleet: Fleet;
  readonly statuses: StatusFeed;
  readonly statusWatch: StatusWatch;
  readonly notifications: Notifications;
}

export type RelayClustersDeps = NotificationsDeps & Pick<FleetDeps, "software" | "sessionDeps">;

/** @throws ConnectError of the files that the settings name. */
export async function openRelayClusters(config: RelayConfig, deps: RelayClustersDeps): Promise<RelayClusters> {
  const { log, clock, store, instanceId } = deps;
  const statuses = createStatusFeed();
  const registry = new Registry({
    now: clock.now,
    onChange: () => fleet.changed(),
    onState: (clusterId, state, reason) => {
      log.info({ event: "cluster.state", clusterId, state, ...(reason && { reason }) }, "cluster state");
      statusWatch.touch(clusterId);
    },
  });
  const notifications = await openNotifications(config, deps);
  const { teller, poll: onNoted } = notifications;
  const statusWatch = createStatusWatch({ store, instanceId, log, clock, feed: statuses, teller, onNoted });
  const fleet = await createFleet(config, { ...deps, registry, onWritten: statusWatch.written });
  return { registry, fleet, statuses, statusWatch, notifications };
}
