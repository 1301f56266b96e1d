/** A build service that hands its jobs tokens. */
export interface Pipeline {
  readonly name: string;
  /** Tells this job's tokens from another's on the same machine; not secret. */
  readonly jobKey: string;
  /** Whether the job's own file has named the audiences of the tokens: no other can be asked for. */
  readonly hasOwnAudiences: boolean;
  /** @throws ConnectError `CC_ISSUER_UNREACHABLE` or `CC_LOGIN_FAILED`. */
  token(audience: string, options: { readonly signal: AbortSignal }): Promise<string>;
}
