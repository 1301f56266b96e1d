import { ConnectError } from "@cluster-connect/protocol";
import type { Config } from "../config.ts";
import { LONG_MEMORY_SHARE, LONG_WITHOUT_MEMORY, RETRY_AFTER_LIMIT_MS, UNKNOWN, UNKNOWN_PER_CALLER } from "./limits.ts";
import { createQuota, type Quota } from "./quota.ts";

/** Kinds of requests by their cost while under way. */
export type RequestKind = "short" | "long" | "upgrade";

/** Places for each kind of work. Work of hours never takes the place of work of a moment. */
export interface RequestQuotas extends Readonly<Record<RequestKind, Quota>> {
  /** Requests whose token is not known yet, by caller of the relay. */
  readonly unknown: Quota;
}

/** How much memory the process has and may have, in bytes; no limit is 0. */
export interface MemoryUse {
  readonly usedBytes: number;
  readonly limitBytes: number;
}

/** @param deps.memory Asked for each watch, log and proxied stream above a number that is always let in. */
export function createQuotas(limits: Config["limits"], deps: { readonly memory: () => MemoryUse }): RequestQuotas {
  const long = createQuota(
    {
      what: "watches, logs and proxied streams under way",
      all: "limits.longRequests",
      perCaller: "limits.longRequestsPerCaller",
    },
    { all: limits.longRequests, perCaller: limits.longRequestsPerCaller },
  );
  return {
    short: createQuota(
      { what: "requests under way", all: "limits.requests", perCaller: "limits.requestsPerCaller" },
      { all: limits.requests, perCaller: limits.requestsPerCaller },
    ),
    long: {
      ...long,
      enter() {
        if (long.size() >= LONG_WITHOUT_MEMORY) assertMemory(deps.memory());
        return long.enter();
      },
    },
    upgrade: createQuota(
      { what: "upgraded streams under way", all: "limits.upgrades", perCaller: "limits.upgradesPerCaller" },
      { all: limits.upgrades, perCaller: limits.upgradesPerCaller },
    ),
    unknown: createQuota(
      { what: "requests whose token is being checked", all: "a fixed limit", perCaller: "a fixed limit" },
      { all: UNKNOWN, perCaller: UNKNOWN_PER_CALLER },
    ),
  };
}

function assertMemory({ usedBytes, limitBytes }: MemoryUse): void {
  if (limitBytes === 0 || usedBytes < limitBytes * LONG_MEMORY_SHARE) return;
  throw new ConnectError(
    "CC_LIMIT_REACHED",
    "The auth proxy has no memory for more watches, logs and proxied streams: raise its container's memory limit",
    { retryAfterMs: RETRY_AFTER_LIMIT_MS },
  );
}
