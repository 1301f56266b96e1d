import { isTrustedIssuer, type Principal, type TokenVerifier } from "@cluster-connect/auth";
import { ConnectError } from "@cluster-connect/protocol";
import type { TokenReviewer } from "./token-review.ts";

/** The caller that the token names, and the party that vouches for it. */
export interface Authenticated {
  readonly principal: Principal;
  /** `cluster` when TokenReview said so. */
  readonly by: "issuer" | "cluster";
  /** Reason why the caller is no longer trusted, if so: a stream may outlive the trust in its caller's issuer. */
  readonly fault: () => ConnectError | undefined;
}

/** @param options.caller The stream's caller as the relay knows them; for their share of the TokenReviews. */
export type AuthenticateCaller = (
  token: string,
  options: { readonly signal: AbortSignal; readonly caller: string },
) => Promise<Authenticated>;

/**
 * Asks the trusted issuers first. Only a token that is none of theirs goes on to the cluster: one that is theirs and
 * broken is refused at once.
 *
 * @param deps.reviewer Absent when the cluster's own tokens are not accepted.
 */
export function createAuthenticate(deps: {
  readonly verifier: Pick<TokenVerifier, "verify" | "status">;
  readonly reviewer?: TokenReviewer | undefined;
}): AuthenticateCaller {
  const { verifier, reviewer } = deps;
  return async (token, options) => {
    try {
      const principal = await verifier.verify(token, options);
      const fault = (): ConnectError | undefined =>
        isTrustedIssuer(verifier, principal.issuer) ? undefined : issuerGone();
      return { principal, by: "issuer", fault };
    } catch (error) {
      const notTheirs = error instanceof ConnectError && error.code === "CC_TOKEN_ISSUER";
      if (!notTheirs || reviewer === undefined) throw error;
      return { principal: await reviewer.review(token, options), by: "cluster", fault: () => undefined };
    }
  };
}

function issuerGone(): ConnectError {
  return new ConnectError("CC_TOKEN_ISSUER", "The issuer of the caller's token is no longer trusted");
}
