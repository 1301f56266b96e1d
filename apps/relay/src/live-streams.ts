import { type Grant, mayReach, type Principal } from "@cluster-connect/auth";
import type { Forward } from "@cluster-connect/framing";
import type { ClusterId } from "@cluster-connect/protocol";
import { type Clock, type Logger, repeat } from "@cluster-connect/service";

/** A stream that passes through right now, and on whose behalf. */
export interface LiveStream {
  readonly clusterId: ClusterId;
  readonly principal: Principal;
  readonly forward: Pick<Forward, "done" | "reset">;
}

/** Streams that were granted, for as long as they are. */
export interface LiveStreams {
  readonly size: number;
  /** Keeps a stream until it has ended. */
  add(stream: LiveStream): void;
  /** Ends the streams whose grant has ended, looking now and then until the signal is aborted. */
  watch(options: { readonly intervalMs?: number; readonly signal: AbortSignal }): Promise<void>;
}

const INTERVAL_MS = 2_000;

export function createLiveStreams(deps: {
  readonly grants: readonly Grant[];
  readonly log: Logger;
  readonly clock: Clock;
}): LiveStreams {
  const streams = new Set<LiveStream>();
  const sweep = (): void => {
    const now = new Date(deps.clock.now());
    for (const { clusterId, principal, forward } of streams) {
      if (mayReach(principal, clusterId, deps.grants, now).allowed) continue;
      deps.log.info({ event: "stream.revoked", clusterId, username: principal.username }, "grant ended, stream ended");
      forward.reset("CC_GRANT_MISSING", "The grant for this cluster has ended");
    }
  };
  return {
    get size() {
      return streams.size;
    },
    add(stream) {
      streams.add(stream);
      void stream.forward.done.then(() => streams.delete(stream));
    },
    watch: ({ intervalMs = INTERVAL_MS, signal }) => repeat(sweep, { intervalMs, signal }, deps.clock),
  };
}
