import type { Principal, TokenVerifier } from "@cluster-connect/auth";
import { ConnectError } from "@cluster-connect/protocol";
import type { TokenReviewer } from "./token-review.ts";

/** Who the token says is calling, and who vouches for it. */
export interface Authenticated {
  readonly principal: Principal;
  /** `cluster` when TokenReview said so. */
  readonly by: "issuer" | "cluster";
}

export type Authenticate = (token: string, options: { readonly signal: AbortSignal }) => Promise<Authenticated>;

/**
 * Asks the trusted issuers first. Only a token that is none of theirs goes on to the cluster: one that is theirs and
 * broken is refused at once.
 *
 * @param deps.reviewer Absent when the cluster's own tokens are not accepted.
 */
export function createAuthenticate(deps: {
  readonly verifier: Pick<TokenVerifier, "verify">;
  readonly reviewer?: TokenReviewer | undefined;
}): Authenticate {
  const { verifier, reviewer } = deps;
  return async (token, options) => {
    try {
      return { principal: await verifier.verify(token, options), by: "issuer" };
    } catch (error) {
      const notTheirs = error instanceof ConnectError && error.code === "CC_TOKEN_ISSUER";
      if (!notTheirs || reviewer === undefined) throw error;
      return { principal: await reviewer.review(token, options), by: "cluster" };
    }
  };
}
