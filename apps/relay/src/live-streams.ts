import type { Principal } from "@cluster-connect/auth";
import type { Forward } from "@cluster-connect/framing";
import type { ClusterId } from "@cluster-connect/protocol";
import { type Clock, type Logger, repeat } from "@cluster-connect/service";
import type { GrantBook } from "./grants/grant-book.ts";

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

const INTERVAL_MS = 500;

export function createLiveStreams(deps: {
  readonly grants: Pick<GrantBook, "decide" | "version">;
  readonly log: Logger;
  readonly clock: Clock;
}): LiveStreams {
  const streams = new Set<LiveStream>();
  let swept = 0;
  const sweep = (): void => {
    const { version } = deps.grants;
    if (version === swept) return;
    swept = version;
    for (const { clusterId, principal, forward } of streams) {
      if (deps.grants.decide(principal, clusterId).allowed) continue;
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
