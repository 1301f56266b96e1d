import type { TokenVerifier } from "@cluster-connect/auth";
import type { Check } from "@cluster-connect/service";

/**
 * Whether callers' tokens can be verified: the keys of some issuer are known. The check asks for them again, because
 * nothing else does before a caller comes. Issuers without keys are named with the reason.
 *
 * @param options `othersCall` where ServiceAccounts call as well: they need no issuer's keys.
 */
export function checkIssuers(
  verifier: Pick<TokenVerifier, "status" | "load">,
  options: { readonly othersCall: boolean },
): Check {
  return async ({ signal }) => {
    const lacking = (): readonly string[] =>
      verifier
        .status()
        .filter(({ fetchedAt }) => fetchedAt === undefined)
        .map(({ issuer, failure }) => (failure === undefined ? issuer : `${issuer} (${failure.message})`));
    const isEnough = (): boolean => options.othersCall || lacking().length < verifier.status().length;
    // One issuer that never answers must not keep the check from saying that another one's keys are known.
    const asked = lacking().length === 0 ? undefined : verifier.load({ signal }).catch(() => undefined);
    if (!isEnough()) await asked;
    const ok = isEnough();
    const without = lacking();
    if (without.length === 0) return { ok, text: ok ? "keys known" : "no issuer is named" };
    return { ok, text: `no keys of ${without.join(", ")}` };
  };
}
