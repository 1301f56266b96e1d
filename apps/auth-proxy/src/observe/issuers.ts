import type { TokenVerifier } from "@cluster-connect/auth";
import type { Check } from "@cluster-connect/service";

/**
 * Says whose tokens cannot be verified yet, with the reason, and asks for their keys again: nothing else does before a
 * caller comes. It keeps no pod out of service. An issuer that is away is not the auth proxy's fault, callers of others
 * get through, and a restart changes nothing.
 */
export function checkIssuers(verifier: Pick<TokenVerifier, "status" | "load">): Check {
  return ({ signal }) => {
    const lacking = verifier.status().filter(({ fetchedAt }) => fetchedAt === undefined);
    if (lacking.length === 0) return { ok: true, text: "keys known" };
    // Its answer is told the next time: an issuer that never answers must not make the check late.
    verifier.load({ signal }).catch(() => undefined);
    const named = lacking.map(({ issuer, failure }) =>
      failure === undefined ? issuer : `${issuer} (${failure.message})`,
    );
    return {
      ok: true,
      text: `no keys of ${named.join(", ")}: every token of theirs is refused with CC_ISSUER_UNREACHABLE`,
    };
  };
}
