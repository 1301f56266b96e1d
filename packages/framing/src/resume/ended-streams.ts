import type { Clock, Timer } from "@cluster-connect/base";
import type { Caller, ConnectError } from "@cluster-connect/protocol";
import type { TakerStreamTerms } from "./taker-stream.ts";

/** Streams that are over and remembered, so that a late RESUME learns how they ended. */
const MAX_ENDED = 4_096;

interface EndedStream {
  readonly caller: Caller | undefined;
  /** Undefined when both directions had ended. */
  readonly error: ConnectError | undefined;
}

/** Remembers for a stream's grace how it ended, of the newest streams. */
export interface EndedStreams {
  add(terms: TakerStreamTerms, error: ConnectError | undefined): void;
  /** @param digest of the stream's key. */
  find(digest: string): EndedStream | undefined;
  clear(): void;
}

export function createEndedStreams({ clock }: { readonly clock: Clock }): EndedStreams {
  const ended = new Map<string, EndedStream & { readonly timer: Timer }>();
  return {
    add({ digest, caller, graceMs }, error) {
      const oldest = ended.size >= MAX_ENDED ? ended.entries().next().value : undefined;
      if (oldest !== undefined) {
        oldest[1].timer.cancel();
        ended.delete(oldest[0]);
      }
      const timer = clock.setTimer(graceMs, () => ended.delete(digest));
      ended.set(digest, { caller, error, timer });
    },
    find: (digest) => ended.get(digest),
    clear() {
      for (const { timer } of ended.values()) timer.cancel();
      ended.clear();
    },
  };
}
