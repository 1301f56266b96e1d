import type { Clock, Timer } from "@cluster-connect/base";
import { HEADERS_TIMEOUT_MS, KEEP_ALIVE_MS } from "../limits/limits.ts";

/** Ends a connection that carries no stream. */
export interface IdleTimer {
  /** A stream has begun. @returns is to be called once when it is over. */
  enter(): () => void;
  cancel(): void;
}

/** The first stream has to come as soon as the first request of HTTP/1.1; later ones may take longer. */
export function createIdleTimer(end: () => void, clock: Pick<Clock, "setTimer">): IdleTimer {
  let open = 0;
  let timer: Timer | undefined = clock.setTimer(HEADERS_TIMEOUT_MS, end);
  let cancelled = false;
  return {
    enter() {
      open += 1;
      timer?.cancel();
      return () => {
        open -= 1;
        if (open === 0 && !cancelled) timer = clock.setTimer(KEEP_ALIVE_MS, end);
      };
    },
    cancel() {
      cancelled = true;
      timer?.cancel();
    },
  };
}
