import { type Clock, repeat } from "@cluster-connect/base";
import type { ClusterId, KeyId } from "@cluster-connect/protocol";
import { errorFields, type Logger } from "@cluster-connect/service";
import { markSeen } from "../store/queries/clusters.ts";
import type { Store } from "../store/store.ts";
import type { Registry, Tunnel } from "./tunnels.ts";

/** Writes down when clusters and keys were last seen: all in one write now and then, however many tunnels there are. */
export interface LastSeen {
  /** A tunnel was opened, or is over. */
  note(tunnel: Tunnel): void;
  /** Writes now; a store that fails is logged and tried again with the next write. */
  flush(): Promise<void>;
  /** Writes at an interval until the signal is aborted. */
  run(options: { readonly intervalMs?: number; readonly signal: AbortSignal }): Promise<void>;
}

const INTERVAL_MS = 15_000;

export function createLastSeen(deps: {
  readonly store: Store;
  readonly registry: Registry;
  readonly log: Logger;
  readonly clock: Clock;
}): LastSeen {
  const { store, registry, log, clock } = deps;
  const clusters = new Set<ClusterId>();
  const keys = new Set<KeyId>();
  const note = ({ clusterId, keyId }: Tunnel): void => {
    clusters.add(clusterId);
    keys.add(keyId);
  };
  const flush = async (): Promise<void> => {
    for (const tunnel of registry.tunnels()) note(tunnel);
    try {
      await markSeen(store.db, { clusterIds: [...clusters], keyIds: [...keys] }, new Date(clock.now()));
      clusters.clear();
      keys.clear();
    } catch (error) {
      log.error({ event: "store.failed", ...errorFields(error) }, "last seen times could not be written");
    }
  };
  return {
    note,
    flush,
    run: ({ intervalMs = INTERVAL_MS, signal }) => repeat(flush, { intervalMs, signal }, { clock }),
  };
}
