import { systemCode } from "@cluster-connect/base";
import type { ProbeDocument } from "@cluster-connect/protocol";
import { z } from "zod";

const REPORT = z.object({
  ok: z.boolean(),
  checks: z.array(z.object({ name: z.string(), ok: z.boolean(), text: z.string() })).max(32),
});
/** The check of the auth proxy that asks the kube-apiserver itself. */
const APISERVER_CHECK = "apiserver";
const TIMEOUT_MS = 4_000;
const MAX_TEXT = 512;

/** Asks the auth proxy's `/readyz`, which asks the kube-apiserver, and tells both apart. Never rejects. */
export async function probeUpstream(
  healthUrl: URL,
  options: { readonly signal: AbortSignal },
  deps: { readonly fetch: typeof fetch } = { fetch },
): Promise<ProbeDocument> {
  const agent = { ok: true, text: "running" };
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(TIMEOUT_MS)]);
  try {
    const response = await deps.fetch(healthUrl, { signal, redirect: "error" });
    return { agent, ...readReport(await response.json()) };
  } catch (error) {
    const authProxy = { ok: false, text: `no health answer: ${reasonOf(error)}` };
    return { agent, authProxy, apiserver: { ok: false, text: "not known without the auth proxy" } };
  }
}

function readReport(value: unknown): Pick<ProbeDocument, "authProxy" | "apiserver"> {
  const { ok, checks } = REPORT.parse(value);
  const apiserver = checks.find(({ name }) => name === APISERVER_CHECK);
  const failed = checks.find((check) => !check.ok && check.name !== APISERVER_CHECK);
  const ownOk = failed === undefined && (ok || apiserver?.ok === false);
  return {
    authProxy: { ok: ownOk, text: cut(failed === undefined ? "ready" : `${failed.name}: ${failed.text}`) },
    apiserver: { ok: apiserver?.ok ?? false, text: cut(apiserver?.text ?? "the auth proxy does not say") },
  };
}

function reasonOf(error: unknown): string {
  if (error instanceof z.ZodError || error instanceof SyntaxError) return "it is no health report";
  if (!(error instanceof Error)) return "it failed";
  if (error.name === "TimeoutError") return "too slow";
  const { cause } = error;
  return systemCode(cause) || cut(error.message);
}

function cut(text: string): string {
  return text.slice(0, MAX_TEXT);
}
