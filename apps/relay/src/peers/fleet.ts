import type { Clock } from "@cluster-connect/base";
import type { SessionDeps } from "@cluster-connect/framing";
import type { InstanceId } from "@cluster-connect/protocol";
import type { CheckResult, Logger } from "@cluster-connect/service";
import type { TunnelsElsewhere } from "../agents/at-relays.ts";
import type { Registry } from "../agents/tunnels.ts";
import type { AuditLog } from "../audit/audit-log.ts";
import type { UpgradeDeps } from "../http/upgrade.ts";
import type { RelayIds } from "../ids.ts";
import type { RelayMetrics } from "../observe/metrics.ts";
import type { Quotas } from "../quota/quotas.ts";
import { createSessionSet } from "../session-set.ts";
import { type ClusterCache, createClusterCache } from "../store/caches/cluster-cache.ts";
import type { Store, StoreState } from "../store/store.ts";
import { openPeerFiles } from "./credentials.ts";
import { createDirectory } from "./directory.ts";
import { createLease } from "./lease.ts";
import { listenForPeers, type PeerListener } from "./listener.ts";
import { createMembership } from "./membership.ts";
import { createPeerSessions } from "./peer-sessions.ts";
import { createPeers, NO_PEERS, type Peers } from "./peers.ts";
import type { PeerSettings } from "./tls.ts";

export interface FleetSettings {
  readonly peers?: PeerSettings | undefined;
  readonly storeOutageSeconds: number;
}

export interface FleetDeps {
  readonly instanceId: InstanceId;
  readonly software: string;
  readonly store: Store;
  readonly registry: Registry;
  /** The store has this relay's tunnels as they were when the write began. */
  readonly onWritten: () => void;
  readonly log: Logger;
  readonly clock: Clock;
  readonly sessionDeps: SessionDeps;
}

/** Further dependencies of peers' sessions. */
export interface FleetStartDeps {
  readonly quotas: Pick<Quotas, "takeStream">;
  readonly audit: Pick<AuditLog, "refused">;
  readonly metrics: Pick<RelayMetrics, "ended" | "forwarded" | "refusedUpgrade">;
  readonly ids: RelayIds;
  readonly admitSocket: UpgradeDeps["admitSocket"];
}

/** This relay among the others that share its store. */
export interface Fleet {
  readonly peers: Peers;
  readonly cache: ClusterCache;
  readonly liveRelays: () => number;
  readonly tunnelsElsewhere: TunnelsElsewhere;
  readonly storeState: () => StoreState;
  /** How the certificate between relays is, for `/readyz`; undefined for a relay alone. */
  readonly checkPeers: (() => CheckResult) | undefined;
  /** A tunnel came or went, or its probe found something else. */
  changed(): void;
  /** Listens for the others and tells them of this relay. @throws ConnectError `CC_PORT_IN_USE`, or of the store. */
  start(options: { readonly draining: AbortSignal }, deps: FleetStartDeps): Promise<void>;
  run(options: { readonly signal: AbortSignal }): Promise<void>;
  drain(options: { readonly deadlineMs: number; readonly signal: AbortSignal }): Promise<void>;
  close(): Promise<void>;
}

/** A relay that died is forgotten after this long; one that lives says so five times meanwhile. */
const LEASE_MS = 10_000;
const BEAT_MS = 2_000;

/** @throws ConnectError of the files that the settings name. */
export async function createFleet(settings: FleetSettings, deps: FleetDeps): Promise<Fleet> {
  const { store, registry, log, clock, instanceId, software, onWritten } = deps;
  const outageMs = settings.storeOutageSeconds * 1_000;
  const files = settings.peers === undefined ? undefined : await openPeerFiles(settings.peers, deps);
  const directory = createDirectory({ ownId: instanceId, outageMs }, { store, now: clock.now });
  const peerSessions = files === undefined ? undefined : createPeerSessions({ ...deps, files, now: clock.now });
  const address = settings.peers?.address ?? "";
  const own = { id: instanceId, address, software, startedAt: new Date(clock.now()), ttlMs: LEASE_MS };
  const lease = createLease(own, { store, registry });
  const liveRelays = (): number => (peerSessions === undefined ? 1 : directory.liveRelays);
  let said = liveRelays();
  const onRead = (): void => {
    if (said === liveRelays()) return;
    said = liveRelays();
    for (const { session } of registry.tunnels()) session.announceRelays(said);
  };
  const membership = createMembership(
    { intervalMs: BEAT_MS },
    { lease, directory, peerSessions, onRead, onWritten, log, clock },
  );
  const sessions = createSessionSet();
  let listener: PeerListener | undefined;

  const addressOf = async (peerId: InstanceId): Promise<string | undefined> => {
    if (directory.relay(peerId) === undefined && !directory.away) await directory.refresh().catch(() => undefined);
    return directory.relay(peerId)?.address;
  };

  return {
    peers: peerSessions === undefined ? NO_PEERS : createPeers({ directory, peerSessions, now: clock.now }),
    cache: createClusterCache(
      { outageMs },
      {
        store,
        now: clock.now,
        away: () => directory.away,
        hasTunnel: (id) => registry.pick(id) !== undefined || directory.tunnels(id).length > 0,
      },
    ),
    liveRelays,
    tunnelsElsewhere: (clusterId) => (peerSessions === undefined ? [] : directory.tunnels(clusterId)),
    storeState: () => ({
      away: directory.away,
      readAt: new Date(directory.readAt),
      withinOutage: clock.now() < directory.readAt + outageMs,
    }),
    checkPeers: files === undefined ? undefined : () => files.check(),
    changed: () => membership.changed(),
    async start({ draining }, startDeps) {
      if (settings.peers !== undefined && files !== undefined) {
        listener = await listenForPeers(settings.peers, {
          ...deps,
          ...startDeps,
          files,
          addressOf,
          sessions,
          draining,
        });
        log.info({ event: "peers.listening", port: listener.address.port, address }, "listening for other relays");
      }
      try {
        await membership.join();
      } catch (error) {
        await listener?.close();
        throw error;
      }
    },
    async run(options) {
      await Promise.all([membership.run(options), files?.watch(options)]);
    },
    async drain(options) {
      await membership.drain();
      await sessions.drain(options);
    },
    async close() {
      peerSessions?.close();
      sessions.closeAll();
      await listener?.close();
      await membership.leave();
    },
  };
}
