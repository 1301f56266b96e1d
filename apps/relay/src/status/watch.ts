import { type Clock, onAbort } from "@cluster-connect/base";
import type { ClusterId, InstanceId } from "@cluster-connect/protocol";
import { errorFields, type Logger } from "@cluster-connect/service";
import { type ClusterStatus, listStatuses, noteStatuses, type Teller } from "../store/queries/cluster-status.ts";
import type { Store } from "../store/store.ts";
import type { StatusFeed } from "./feed.ts";

/** Finds changes of clusters' status by the tunnels of all relays, and hands them to the feed. */
export interface StatusWatch {
  /** This relay's part in the cluster changed; the others learn it with the next write. */
  touch(clusterId: ClusterId): void;
  /** This relay's tunnels are written down, as they were when the write began. */
  written(): void;
  run(options: { readonly signal: AbortSignal }): Promise<void>;
}

export interface StatusWatchDeps {
  readonly store: Store;
  readonly instanceId: InstanceId;
  readonly feed: StatusFeed;
  /** Makes the webhook's message; undefined without one. */
  readonly teller: Teller;
  /** Changes that this relay noted, and now has to tell. */
  readonly onNoted: () => void;
  readonly log: Logger;
  readonly clock: Clock;
}

/** All clusters are looked at this often: a relay that died tells nothing of its tunnels. */
const SWEEP_MS = 10_000;

export function createStatusWatch(deps: StatusWatchDeps): StatusWatch {
  const { store, instanceId: relayId, feed, teller, onNoted, log, clock } = deps;
  let touched = new Set<ClusterId>();
  /** Touched while a write was under way that may not hold it; the next one does. */
  let again = new Set<ClusterId>();
  let wake = Promise.withResolvers<void>();
  let sweptAt = clock.now();
  let failing = false;
  /** The newest change of each cluster that the feed got. */
  const told = new Map<ClusterId, string>();

  function publish(changes: readonly ClusterStatus[]): void {
    for (const change of changes) {
      if (told.get(change.clusterId) === change.id) continue;
      told.set(change.clusterId, change.id);
      feed.publish(change);
    }
  }

  async function poll(): Promise<void> {
    const now = new Date(clock.now());
    const all = clock.now() - sweptAt >= SWEEP_MS;
    const ids = [...new Set([...touched, ...again])];
    const [first, second] = [touched, again];
    [again, touched] = [first, new Set()];
    try {
      const by = { relayId, teller };
      const noted = all || ids.length > 0 ? await noteStatuses(store, by, all ? undefined : ids, now) : [];
      if (all) sweptAt = clock.now();
      publish(noted);
      if (noted.length > 0 || all) onNoted();
      // Changes that other relays noted; without a listener they are not read.
      if (feed.listeners > 0) publish(await listStatuses(store.db));
      failing = false;
    } catch (error) {
      touched = new Set([...touched, ...first, ...second]);
      if (!failing)
        log.error({ event: "status.failed", ...errorFields(error) }, "changes of status wait for the store");
      failing = true;
    }
  }

  return {
    touch: (clusterId) => {
      touched.add(clusterId);
    },
    written: () => wake.resolve(),
    async run({ signal }) {
      const leave = onAbort(signal, () => wake.resolve());
      while (!signal.aborted) {
        await wake.promise;
        wake = Promise.withResolvers<void>();
        if (!signal.aborted) await poll();
      }
      leave();
    },
  };
}
