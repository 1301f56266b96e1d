import { INITIAL_WINDOW_BYTES, MIN_WINDOW_BYTES } from "@cluster-connect/protocol";
import type { Budget } from "../bytes/budget.ts";

/** A stream begins with this part of the rest: the first half of the budget goes to windows of full size. */
const SHARE = 128;

/**
 * The window that a new stream begins with. A session never promises more than it holds for the promise, so no stream
 * has to be reset because others are slow. With many streams windows begin small, and grow where that makes a stream
 * faster.
 *
 * @param budget bytes that the windows of all streams of the session, and of the process, began with.
 */
export function initialWindow(budget: Pick<Budget, "restBytes">): number {
  const share = Math.floor(budget.restBytes / SHARE);
  return Math.max(MIN_WINDOW_BYTES, Math.min(INITIAL_WINDOW_BYTES, share));
}
