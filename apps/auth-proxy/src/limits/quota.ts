import { createConcurrencyLimiter, type Release } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import { RETRY_AFTER_LIMIT_MS } from "./limits.ts";

const ALL = "";

/** How many things of one kind may be under way. */
export interface QuotaLimits {
  readonly all: number;
  readonly perCaller: number;
}

/** Counts work under way, in all and for each caller. */
export interface Quota {
  /** @returns gives the place back; to be called once. @throws ConnectError `CC_LIMIT_REACHED`. */
  enter(): Release;
  enterCaller(caller: string): Release;
  readonly size: () => number;
  /** Callers with something under way; no other is remembered. */
  readonly callers: () => number;
}

/** How a quota is called where it refuses. */
export interface QuotaName {
  /** Such as "requests". */
  readonly what: string;
  /** The settings behind both limits, for the operator who can change them. */
  readonly all: string;
  readonly perCaller: string;
}

export function createQuota(name: QuotaName, limits: QuotaLimits): Quota {
  const all = createConcurrencyLimiter(limits.all, (limit) =>
    quotaFull(`The auth proxy has ${limit} ${name.what} already`, name.all),
  );
  const callers = createConcurrencyLimiter(limits.perCaller, (limit) =>
    quotaFull(`You have ${limit} ${name.what} already`, name.perCaller),
  );
  return {
    enter: () => all.take(ALL),
    enterCaller: (caller) => callers.take(caller),
    size: () => all.of(ALL),
    callers: () => callers.keys,
  };
}

/** @param setting of the auth proxy. */
function quotaFull(message: string, setting: string): ConnectError {
  return new ConnectError("CC_LIMIT_REACHED", `${message}, as many as ${setting} of the auth proxy allows`, {
    retryAfterMs: RETRY_AFTER_LIMIT_MS,
  });
}
