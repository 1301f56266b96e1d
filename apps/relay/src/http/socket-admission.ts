import type { IncomingMessage } from "node:http";
import { ConnectError } from "@cluster-connect/protocol";
import { createFileGuard } from "@cluster-connect/service";

const RETRY_AFTER_MS = 1_000;

/**
 * Judges requests by the socket that they came on: one that has one of the last files of this process is refused while
 * there is a file left to do it with, and the channels that are there go on.
 *
 * @param openFileLimit how many files this process may have open; the system is asked without it.
 * @returns throws ConnectError `CC_LIMIT_REACHED`.
 */
export function createSocketAdmission(openFileLimit?: () => number | undefined): (request: IncomingMessage) => void {
  const isOneOfTheLast = createFileGuard(openFileLimit);
  return ({ socket }) => {
    if (!isOneOfTheLast(socket)) return;
    const message = "The relay has as many open files as it may";
    const hint =
      "Raise the limit of open files (ulimit -n, or LimitNOFILE of its unit) where the relay runs, or run another relay.";
    throw new ConnectError("CC_LIMIT_REACHED", message, { hint, retryAfterMs: RETRY_AFTER_MS });
  };
}
