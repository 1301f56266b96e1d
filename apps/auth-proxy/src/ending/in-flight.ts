import { untilAborted } from "@cluster-connect/base";
import { errorFields, type Logger } from "@cluster-connect/service";

/** The handlers that have not returned yet. */
export interface InFlight {
  /** Takes the promise over: a failure is logged. */
  track(work: Promise<void>): void;
  /** Waits until none is left, no longer than the signal lets. */
  settled(signal: AbortSignal): Promise<void>;
}

export function createInFlight(deps: { readonly log: Logger }): InFlight {
  const handlers = new Set<Promise<void>>();
  return {
    track(work) {
      const settled = work
        .catch((error: unknown) => deps.log.error({ event: "request.failed", ...errorFields(error) }, "request failed"))
        .finally(() => handlers.delete(settled));
      handlers.add(settled);
    },
    async settled(signal) {
      const cut = untilAborted(signal);
      while (handlers.size > 0 && !signal.aborted) await Promise.race([Promise.allSettled([...handlers]), cut]);
    },
  };
}
