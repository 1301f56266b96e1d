import type { ErrorCode } from "@cluster-connect/protocol";

/** Ends of a session after which its streams must not go on over another channel. */
const FINAL: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "CC_SESSION_ENDED",
  "CC_AGENT_REPLACED",
  "CC_GRANT_MISSING",
  "CC_AGENT_KEY_REFUSED",
  "CC_CHALLENGE_FAILED",
  "CC_CLUSTER_DUPLICATE",
  "CC_VERSION_UNSUPPORTED",
]);

/** Whether a session that ended with this code leaves its streams to be resumed over another one. */
export function suspends(code: ErrorCode): boolean {
  return !FINAL.has(code);
}
