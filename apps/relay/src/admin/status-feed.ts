import type { ClusterId } from "@cluster-connect/protocol";
import type { ClusterState } from "../cluster-status.ts";

/** A cluster's change of state, as one relay sees it. */
export interface StatusChange {
  readonly at: string;
  readonly clusterId: ClusterId;
  readonly status: ClusterState;
  readonly reason: string | null;
}

/** Hands changes to whoever listens at the moment. */
export interface StatusFeed {
  publish(change: StatusChange): void;
  /** @returns ends the listening. */
  listen(listener: (change: StatusChange) => void): () => void;
  readonly listeners: number;
}

export function createStatusFeed(): StatusFeed {
  const listeners = new Set<(change: StatusChange) => void>();
  return {
    publish(change) {
      for (const listener of listeners) listener(change);
    },
    listen(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    get listeners() {
      return listeners.size;
    },
  };
}
