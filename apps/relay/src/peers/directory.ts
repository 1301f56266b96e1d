import type { ClusterId, InstanceId } from "@cluster-connect/protocol";
import { listRelays, type StoredRelay } from "../store/queries/relays.ts";
import { listTunnels, type StoredTunnel } from "../store/queries/tunnels.ts";
import type { Store } from "../store/store.ts";

/** The other relays, and the tunnels they hold, as the store said it last. */
export interface Directory {
  /** Relays that may be used now, this one not among them. */
  relays(): readonly StoredRelay[];
  relay(id: InstanceId): StoredRelay | undefined;
  /** Tunnels of other relays that may be used now, best first. */
  tunnels(clusterId: ClusterId): readonly StoredTunnel[];
  /** How many relays there are with this one, those that drain left out. */
  readonly liveRelays: number;
  /** When the store was read last, and whether it could not be since. */
  readonly readAt: number;
  readonly away: boolean;
  /** Reads the store, once for all who ask meanwhile. @throws the store's own error. */
  refresh(): Promise<void>;
}

export interface DirectoryOptions {
  readonly ownId: InstanceId;
  /** How long the last reading is used while the store cannot be read. */
  readonly outageMs: number;
}

export function createDirectory(
  options: DirectoryOptions,
  deps: { readonly store: Store; readonly now: () => number },
): Directory {
  const { ownId, outageMs } = options;
  let relays = new Map<InstanceId, StoredRelay>();
  let tunnels = new Map<ClusterId, readonly StoredTunnel[]>();
  let readAt = Number.NEGATIVE_INFINITY;
  let away = false;
  let reading: Promise<void> | undefined;

  /** A lease counts until it ends. While no relay can renew one, a relay that answers on its peer channel is there. */
  function mayUse({ leaseMs }: StoredRelay): boolean {
    return deps.now() < readAt + (away ? outageMs : leaseMs);
  }

  async function read(): Promise<void> {
    const askedAt = deps.now();
    try {
      const found = await listRelays(deps.store);
      const rows = await listTunnels(deps.store);
      relays = new Map(found.filter(({ id }) => id !== ownId).map((relay) => [relay.id, relay]));
      tunnels = Map.groupBy(
        rows.filter(({ relayId }) => relayId !== ownId),
        ({ clusterId }) => clusterId,
      );
      readAt = askedAt;
      away = false;
    } catch (error) {
      away = true;
      throw error;
    }
  }

  const usable = (): readonly StoredRelay[] => [...relays.values()].filter(mayUse);
  const relay = (id: InstanceId): StoredRelay | undefined => {
    const found = relays.get(id);
    return found !== undefined && mayUse(found) ? found : undefined;
  };
  return {
    relays: usable,
    relay,
    tunnels: (clusterId) =>
      (tunnels.get(clusterId) ?? [])
        .filter(({ relayId }) => relay(relayId)?.draining === false)
        .toSorted((a, b) => rankOf(a) - rankOf(b) || a.openStreams - b.openStreams),
    get liveRelays() {
      return 1 + usable().filter(({ draining, address }) => !draining && address !== "").length;
    },
    get readAt() {
      return readAt;
    },
    get away() {
      return away;
    },
    refresh() {
      reading ??= read().finally(() => {
        reading = undefined;
      });
      return reading;
    },
  };
}

/** A tunnel whose probe came back from the cluster's kube-apiserver comes first. */
function rankOf({ probe }: StoredTunnel): number {
  return probe.kind === "passed" ? 0 : 1;
}
