import type { Registry } from "../agents/tunnels.ts";
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
      const changes = changesSince(written, registry.entries());
      if (changes.added.length + changes.changed.length + changes.removed.length === 0) return;
      await writeTunnels(store, own.id, changes);
      if (lease !== leases) return;
      for (const id of changes.removed) written.delete(id);
      for (const row of [...changes.added, ...changes.changed]) written.set(row.id, row);
    },
    end: () => endLease(store, own.id),
  };
}

type Entry = ReturnType<Registry["entries"]>[number];

/** While agents come this is asked twenty times a second: an entry without news costs a look and makes nothing. */
function changesSince(written: ReadonlyMap<string, TunnelRow>, entries: readonly Entry[]): TunnelChanges {
  const added: TunnelRow[] = [];
  const changed: TunnelRow[] = [];
  for (const entry of entries) {
    const row = written.get(entry.tunnel.sessionId);
    if (row === undefined) added.push(rowOf(entry));
    else if (!isSame(row, entry)) changed.push(rowOf(entry));
  }
  if (entries.length - added.length === written.size) return { added, changed, removed: [] };
  const present = new Set<string>(entries.map(({ tunnel }) => tunnel.sessionId));
  return { added, changed, removed: [...written.keys()].filter((id) => !present.has(id)) };
}

/** The moment of a probe alone is no news. */
function isSame(row: TunnelRow, { tunnel, probe }: Entry): boolean {
  return (
    row.open_streams === tunnel.session.counters.openStreams &&
    row.probe === probe.kind &&
    row.probe_reason === reasonIn(probe)
  );
}

function reasonIn(probe: ProbeState): string | null {
  return probe.kind === "failed" ? probe.reason : null;
}

function rowOf({ tunnel, probe }: Entry): TunnelRow {
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
    probe_reason: reasonIn(probe),
  };
}
