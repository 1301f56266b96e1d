import { ConnectError } from "@cluster-connect/protocol";

const RETRY_AFTER_MS = 1_000;

/** Refuses what would take one of the last files, or found none left. */
export function outOfFiles(cause?: unknown): ConnectError {
  const hint = "Raise the limit of open files (ulimit -n) where the auth proxy runs, or run another replica.";
  const message = "The auth proxy has as many open files as it may";
  return new ConnectError("CC_LIMIT_REACHED", message, { cause, hint, retryAfterMs: RETRY_AFTER_MS });
}
