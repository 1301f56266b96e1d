import type { IncomingMessage } from "node:http";
import { createFileGuard, type OpenFileLimit, outOfFiles } from "@cluster-connect/service";

/**
 * Judges requests by the socket that they came on: one that has one of the last files of this process is refused while
 * there is a file left to do it with, and the channels that are there go on.
 *
 * @param openFileLimit the system is asked without it.
 * @returns throws ConnectError `CC_LIMIT_REACHED`.
 */
export function createSocketAdmission(openFileLimit?: OpenFileLimit): (request: IncomingMessage) => void {
  const isOneOfTheLast = createFileGuard(openFileLimit);
  return ({ socket }) => {
    if (isOneOfTheLast(socket)) throw outOfFiles("relay");
  };
}
