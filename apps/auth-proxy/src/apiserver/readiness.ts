import type { CheckResult } from "@cluster-connect/service";
import type { ApiserverClient } from "./client.ts";

/** Asks the apiserver whether it is ready, now and as ourselves. */
export async function askReadiness(apiserver: ApiserverClient, signal: AbortSignal): Promise<CheckResult> {
  const { status } = await apiserver.get("/readyz", { signal });
  return { ok: status === 200, text: `the kube-apiserver answers ${status} to /readyz` };
}
