import type { Principal } from "@cluster-connect/auth";
import { createBoundedMap, createTokenBucket } from "@cluster-connect/base";
import { callerKey } from "./caller-key.ts";
import { jointRate, type Rate } from "./joint-rate.ts";
import type { LimitSettings } from "./limit-settings.ts";

/** Bytes per second of callers and clusters, where the settings limit them. */
export interface Rates {
  /** The rate that a stream counts against; undefined where nothing limits it, which then costs nothing. */
  of(caller: Principal, clusterId: string): Rate | undefined;
}

/** One that is forgotten begins anew. */
const MAX_RATES = 10_000;
/** A second of the rate may pass at once after a pause, which leaves little to make up for. */
const BYTES = { burstSeconds: 1, maxDebtSeconds: 10 } as const;

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
  const rates = createBoundedMap<string, Rate>(MAX_RATES);
  return (key) => rates.getOrMake(key, () => createTokenBucket(bytesPerSecond, BYTES, deps));
}
