import type { Clock } from "@cluster-connect/base";
import type { SessionBudgets } from "@cluster-connect/framing";
import { MAX_STREAMS } from "@cluster-connect/protocol";
import type { Metrics } from "@cluster-connect/service";
import { createBudgets } from "./budgets.ts";
import type { LimitSettings } from "./limit-settings.ts";
import { createQuotas, type Quotas } from "./quotas.ts";
import { createRates, type Rates } from "./rates.ts";

/** Limits of all callers together and of each one. */
export interface Limits {
  readonly quotas: Quotas;
  readonly rates: Rates;
  readonly budgets: SessionBudgets;
  readonly maxStreamsPerSession: number;
}

/** Makes the limits of the settings, with metrics of the counts. */
export function openLimits(
  settings: LimitSettings,
  deps: { readonly metrics: Metrics; readonly clock: Clock; readonly random: () => number },
): Limits {
  const { metrics, clock, random } = deps;
  const quotas = createQuotas(settings, { now: clock.now, random });
  const silent = "Sockets that are no channel and have no request under way.";
  metrics.observe("silent_sockets", silent, () => quotas.silentSockets);
  metrics.observe("handshakes", "Channels that have not proved anything yet.", () => quotas.handshakes);
  return {
    quotas,
    rates: createRates(settings, { now: clock.monotonicNow }),
    budgets: createBudgets(settings, metrics),
    maxStreamsPerSession: Math.min(settings.streamsPerCaller, MAX_STREAMS),
  };
}
