import { isTransientStatus } from "@cluster-connect/base";

/** @see RFC 6749 section 4.1.2.1; issuers give them at the token endpoint as well */
const TRANSIENT_ERRORS: ReadonlySet<unknown> = new Set(["temporarily_unavailable", "server_error"]);

/**
 * Whether an issuer's failure passes by itself.
 *
 * @param status HTTP status; undefined where the failure came in a redirect.
 * @param error field `error` of the answer, such as `invalid_grant`; undefined where it has none.
 */
export function isTransientAnswer(status: number | undefined, error: unknown): boolean {
  return (status !== undefined && isTransientStatus(status)) || TRANSIENT_ERRORS.has(error);
}
