import type { StoredToken } from "./stored-token.ts";

/** Whom a token is for; each has its own audience. */
export type Purpose = "relay" | "cluster";

/** Where this caller's tokens come from. */
export interface CallerTokens {
  /**
   * A token that is good for at least a little while.
   *
   * @throws ConnectError `CC_NOT_LOGGED_IN` when only the person can go on, `CC_ISSUER_UNREACHABLE` when later may do,
   *   `CC_TOKEN_EXPIRED` for a given token that ran out.
   */
  token(purpose: Purpose, options: { readonly signal: AbortSignal }): Promise<StoredToken>;
}
