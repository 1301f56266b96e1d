import { createBudget, type SessionBudgets } from "@cluster-connect/framing";
import type { Metrics } from "@cluster-connect/service";
import type { LimitSettings } from "./limit-settings.ts";

const MEBIBYTE = 1_048_576;

/** Makes the budgets of bytes that the sessions of the process may hold together. */
export function createBudgets(limits: Pick<LimitSettings, "bufferMebibytes">, metrics: Metrics): SessionBudgets {
  const bytes = limits.bufferMebibytes * MEBIBYTE;
  const [windows, buffers] = [createBudget(bytes), createBudget(bytes)];
  metrics.observe("buffered_bytes", "Bytes that are held for streams whose reader is slow.", () => buffers.usedBytes);
  return { windows, buffers };
}
