import type { Principal } from "@cluster-connect/auth";
import { callerKey } from "./caller-key.ts";
import type { LimitSettings } from "./limit-settings.ts";
import { createRate, jointRate, type Rate } from "./rate.ts";

/** Bytes per second of callers and clusters, where the settings limit them. */
export interface Rates {
  /** What a stream counts against; undefined where nothing limits it, which then costs nothing. */
  of(caller: Principal, clusterId: string): Rate | undefined;
}

/** One that is forgotten begins anew. */
const MAX_RATES = 10_000;

export function createRates(
  limits: Pick<LimitSettings, "bytesPerSecondPerCaller" | "bytesPerSecondPerCluster">,
  deps: { readonly now: () => number },
): Rates {
  const caller = createKeyedRates(limits.bytesPerSecondPerCaller, deps);
  const cluster = createKeyedRates(limits.bytesPerSecondPerCluster, deps);
  return {
    of(principal, clusterId) {
      const found = [caller(callerKey(principal)), cluster(clusterId)].filter((rate) => rate !== undefined);
      return found.length === 0 ? undefined : jointRate(found);
    },
  };
}

function createKeyedRates(
  bytesPerSecond: number | undefined,
  deps: { readonly now: () => number },
): (key: string) => Rate | undefined {
  if (bytesPerSecond === undefined) return () => undefined;
  const rates = new Map<string, Rate>();
  return (key) => {
    const rate = rates.get(key) ?? createRate(bytesPerSecond, deps);
    // Back to the end, so that the first one is the one that was not asked for the longest.
    rates.delete(key);
    rates.set(key, rate);
    const [oldest] = rates.keys();
    if (rates.size > MAX_RATES && oldest !== undefined) rates.delete(oldest);
    return rate;
  };
}
