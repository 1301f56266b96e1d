import type { ClusterStatus } from "../store/queries/cluster-status.ts";

/** Hands changes to the present listeners. */
export interface StatusFeed {
  publish(change: ClusterStatus): void;
  /** @returns ends the listening. */
  listen(listener: (change: ClusterStatus) => void): () => void;
  readonly listeners: number;
}

export function createStatusFeed(): StatusFeed {
  const listeners = new Set<(change: ClusterStatus) => void>();
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
