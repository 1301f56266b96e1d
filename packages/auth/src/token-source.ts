/** A token and when it ends. */
export interface IssuedToken {
  readonly token: string;
  readonly expiresAt: Date;
}

/** Where a caller's tokens come from: a login kept on disk, a command, an environment. */
export interface TokenSource {
  /**
   * A token for one audience that is valid for at least a little while.
   *
   * @throws ConnectError `CC_NOT_LOGGED_IN` when only the person can go on, `CC_ISSUER_UNREACHABLE` when later may do.
   */
  token(audience: string, options: { readonly signal: AbortSignal }): Promise<IssuedToken>;
}

/** A source that always hands out the same token, for an audience it does not check. */
export function createStaticTokenSource(issued: IssuedToken): TokenSource {
  return {
    token: async (_audience, { signal }) => {
      signal.throwIfAborted();
      return issued;
    },
  };
}
