const BELOW_500: ReadonlySet<number> = new Set([408, 425, 429]);
/** The server cannot do what was asked, or a portal asks for a login: neither changes by itself. */
const LASTING: ReadonlySet<number> = new Set([501, 505, 511]);

/**
 * Whether an HTTP status says of a failure that it passes by itself: a server that is busy, counts requests, or has the
 * server behind it away, also by the statuses that content networks made up (520 to 530). Every caller asks here, and
 * bounds how often it asks again.
 */
export function isTransientStatus(status: number): boolean {
  return BELOW_500.has(status) || (status >= 500 && status <= 599 && !LASTING.has(status));
}
