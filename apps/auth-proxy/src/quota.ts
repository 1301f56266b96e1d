import { ConnectError } from "@cluster-connect/protocol";
import { RETRY_AFTER_LIMIT_MS } from "./limits.ts";

/** How many things of one kind may be under way. */
export interface QuotaLimits {
  readonly all: number;
  readonly perCaller: number;
}

/** Counts what is under way, in all and for each caller. */
export interface Quota {
  /** @returns gives the place back; to be called once. @throws ConnectError `CC_LIMIT_REACHED`. */
  enter(): () => void;
  enterCaller(caller: string): () => void;
  readonly size: () => number;
}

/** @param what for the message, such as "requests". */
export function createQuota(what: string, limits: QuotaLimits): Quota {
  let all = 0;
  const callers = new Map<string, number>();
  return {
    enter() {
      if (all >= limits.all) throw full(`The auth proxy serves ${limits.all} ${what} already`);
      all += 1;
      return once(() => {
        all -= 1;
      });
    },
    enterCaller(caller) {
      const own = callers.get(caller) ?? 0;
      if (own >= limits.perCaller) throw full(`You have ${limits.perCaller} ${what} under way already`);
      callers.set(caller, own + 1);
      return once(() => {
        const left = (callers.get(caller) ?? 1) - 1;
        if (left === 0) callers.delete(caller);
        else callers.set(caller, left);
      });
    },
    size: () => all,
  };
}

function once(give: () => void): () => void {
  let given = false;
  return () => {
    if (given) return;
    given = true;
    give();
  };
}

function full(message: string): ConnectError {
  return new ConnectError("CC_LIMIT_REACHED", message, { retryAfterMs: RETRY_AFTER_LIMIT_MS });
}
