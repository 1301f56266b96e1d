import type { Principal } from "@cluster-connect/auth";
import { type Clock, repeat } from "@cluster-connect/base";
import type { Forward } from "@cluster-connect/framing";
import type { ClusterId } from "@cluster-connect/protocol";
import type { Logger } from "@cluster-connect/service";
import type { GrantBook } from "../grants/grant-book.ts";

/** A stream that passes through right now, and its caller. */
export interface StreamUnderWay {
  readonly clusterId: ClusterId;
  readonly upstream: string | undefined;
  readonly principal: Principal;
  readonly forward: Pick<Forward, "done" | "reset">;
  /** The grants' version when it was allowed: its way was looked for since, and the grant may be gone. */
  readonly version: number;
}

/** Streams that were granted, for as long as they are. */
export interface StreamsUnderWay {
  readonly size: number;
  /** Keeps a stream until it has ended; one whose grant has ended meanwhile ends at once. */
  add(stream: StreamUnderWay): void;
  /** Ends the streams whose grant has ended, looking now and then until the signal is aborted. */
  watch(options: { readonly intervalMs?: number; readonly signal: AbortSignal }): Promise<void>;
}

const INTERVAL_MS = 500;

export function createStreamsUnderWay(deps: {
  readonly grants: Pick<GrantBook, "decide" | "version">;
  readonly log: Logger;
  readonly clock: Clock;
}): StreamsUnderWay {
  const streams = new Set<StreamUnderWay>();
  let swept = 0;
  const endUnlessGranted = ({ clusterId, upstream, principal, forward }: StreamUnderWay): void => {
    if (deps.grants.decide(principal, clusterId, upstream).allowed) return;
    deps.log.info({ event: "stream.revoked", clusterId, username: principal.username }, "grant ended, stream ended");
    forward.reset("CC_GRANT_MISSING", "The grant for this cluster has ended");
  };
  const sweep = (): void => {
    const { version } = deps.grants;
    if (version === swept) return;
    swept = version;
    for (const stream of streams) endUnlessGranted(stream);
  };
  return {
    get size() {
      return streams.size;
    },
    add(stream) {
      streams.add(stream);
      void stream.forward.done.then(() => streams.delete(stream));
      if (stream.version !== deps.grants.version) endUnlessGranted(stream);
    },
    watch: ({ intervalMs = INTERVAL_MS, signal }) => repeat(sweep, { intervalMs, signal }, deps),
  };
}
