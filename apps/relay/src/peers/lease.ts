import type { Registry, Tunnel } from "../agents/tunnels.ts";
import type { ProbeState } from "../status/state.ts";
import { endLease, type OwnRelay, renewLease } from "../store/queries/relays.ts";
import { type TunnelChanges, type TunnelRow, writeTunnels } from "../store/queries/tunnels.ts";
import type { Store } from "../store/store.ts";

/** This relay's word to the others: that it is there, and which tunnels it holds. */
export interface Lease {
  /** Renews the lease, and waits for no write. @throws the store's own error; the next call makes up for it. */
  renew(options: { readonly draining: boolean }): Promise<void>;
  /** Writes the changes, one call after the other. @throws the store's own error; the next call makes up for it. */
  write(): Promise<void>;
  /** Gives it up, and the tunnels with it. */
  end(): Promise<void>;
}

export interface LeaseOptions extends Omit<OwnRelay, "draining"> {
  readonly ttlMs: number;
}

export function createLease(
  options: LeaseOptions,
  deps: { readonly store: Store; readonly registry: Registry },
): Lease {
  const { store, registry } = deps;
  const { ttlMs, ...own } = options;
  let written = new Map<string, TunnelRow>();
  /** Counts the leases: rows of one that others took for ended went with it, also those of a write under way. */
  let leases = 0;

  return {
    async renew({ draining }) {
      const { isNew } = await renewLease(store, { ...own, draining }, ttlMs);
      if (!isNew) return;
      leases += 1;
      written = new Map();
    },
    async write() {
      const lease = leases;
      const rows = new Map(registry.entries().map((entry) => [entry.tunnel.sessionId, rowOf(entry)]));
      const changes = changesBetween(written, rows);
      if (changes.added.length + changes.changed.length + changes.removed.length === 0) return;
      await writeTunnels(store, own.id, changes);
      if (lease === leases) written = rows;
    },
    end: () => endLease(store, own.id),
  };
}

function changesBetween(before: ReadonlyMap<string, TunnelRow>, after: ReadonlyMap<string, TunnelRow>): TunnelChanges {
  const rows = [...after.values()];
  return {
    added: rows.filter(({ id }) => !before.has(id)),
    changed: rows.filter((row) => {
      const old = before.get(row.id);
      return old !== undefined && !isSame(old, row);
    }),
    removed: [...before.keys()].filter((id) => !after.has(id)),
  };
}

/** The moment of a probe alone is no news. */
function isSame(a: TunnelRow, b: TunnelRow): boolean {
  return a.open_streams === b.open_streams && a.probe === b.probe && a.probe_reason === b.probe_reason;
}

function rowOf({ tunnel, probe }: { readonly tunnel: Tunnel; readonly probe: ProbeState }): TunnelRow {
  const { sessionId, clusterId, instanceId, follows, keyId, since, session, address } = tunnel;
  return {
    id: sessionId,
    cluster_id: clusterId,
    agent_instance_id: instanceId,
    follows: follows.join(" "),
    key_id: keyId,
    since: since.toISOString(),
    software: session.peer?.software ?? "",
    address: address ?? null,
    open_streams: session.counters.openStreams,
    probe: probe.kind,
    probe_at: probe.kind === "pending" ? null : probe.at.toISOString(),
    probe_reason: probe.kind === "failed" ? probe.reason : null,
  };
}
