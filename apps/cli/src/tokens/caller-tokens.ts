import type { ClusterId } from "@cluster-connect/protocol";
import type { StoredToken } from "./stored-token.ts";

/** The receiver of a token; each has its own audience. */
export type Purpose = "relay" | "cluster";

export interface TokenOptions {
  readonly signal: AbortSignal;
  /** Which cluster the token is for, where each has an audience of its own. */
  readonly cluster?: ClusterId | undefined;
}

/** Where this caller's tokens come from. */
export interface CallerTokens {
  /**
   * A token that is good for at least a little while.
   *
   * @throws ConnectError `CC_NOT_LOGGED_IN` when only the person can go on, `CC_ISSUER_UNREACHABLE` when later may do,
   *   `CC_TOKEN_EXPIRED` for a given token that ran out, `CC_AUDIENCE_REFUSED` for an audience that is not to be believed.
   */
  token(purpose: Purpose, options: TokenOptions): Promise<StoredToken>;
}
