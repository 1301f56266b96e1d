import { ConnectError } from "@cluster-connect/protocol";
import type { ImpersonationMode } from "../admission/identity.ts";
import { type ApiserverClient, fieldOf } from "../apiserver/client.ts";
import { hasConstrainedVerb } from "./check.ts";

/** First minor version of Kubernetes whose constrained impersonation is on by default. */
const CONSTRAINED_SINCE = 36;

/**
 * The mode that is set; with `auto` the constrained one where the apiserver knows it and our account has its verb, so
 * that a cluster that is upgraded goes on with the role it has.
 *
 * @throws ConnectError `CC_APISERVER_UNREACHABLE` when it has to be asked and does not answer.
 */
export async function findMode(
  setting: "auto" | ImpersonationMode,
  apiserver: ApiserverClient,
  options: { readonly signal: AbortSignal },
): Promise<ImpersonationMode> {
  if (setting !== "auto") return setting;
  const { status, body } = await apiserver.get("/version", options);
  const major = numberOf(fieldOf(body, "major"));
  const minor = numberOf(fieldOf(body, "minor"));
  if (status !== 200 || major === undefined || minor === undefined) {
    throw new ConnectError("CC_APISERVER_UNREACHABLE", `The kube-apiserver answered ${status} to /version`);
  }
  const known = major > 1 || minor >= CONSTRAINED_SINCE;
  return known && (await hasConstrainedVerb(apiserver, options.signal)) ? "constrained" : "legacy";
}

/** "36", or "36+" as some builds say. */
function numberOf(value: unknown): number | undefined {
  const digits = typeof value === "string" ? /^[0-9]+/.exec(value)?.[0] : undefined;
  return digits === undefined ? undefined : Number(digits);
}
