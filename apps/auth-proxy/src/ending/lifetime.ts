import { ORDINARY_GRACE_MS } from "../limits/limits.ts";

/** The end of a long stream whose caller's token expires. */
export interface LongStreamPolicy {
  readonly onExpiry: "end" | "runToMaximum";
  /** With `runToMaximum`: the longest it may go on, from its start. */
  readonly maximumSeconds: number;
}

/**
 * Finds when a request has to be over, in ms since 1970.
 *
 * @param request.long Whether it goes on until either side ends it: watch, follow, exec, port-forward.
 */
export function endOfLife(
  request: { readonly long: boolean; readonly startedAt: number; readonly expiresAt: Date },
  policy: LongStreamPolicy,
): number {
  const expiresAt = request.expiresAt.getTime();
  if (!request.long) return Math.max(expiresAt, request.startedAt) + ORDINARY_GRACE_MS;
  switch (policy.onExpiry) {
    case "end":
      return expiresAt;
    case "runToMaximum":
      return Math.max(expiresAt, request.startedAt + policy.maximumSeconds * 1_000);
  }
}
