import { type Clock, onAbort, type Timer } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import { GONE_MS } from "../limits/limits.ts";

/**
 * Waits for a request's work, but not for long once its caller is gone. Work that waits for an event of a closed stream
 * may not keep a place.
 *
 * @throws ConnectError `CC_CANCELLED` when the work goes on regardless; the work's own error.
 */
export async function settledOrGone(
  work: Promise<void>,
  gone: AbortSignal,
  clock: Pick<Clock, "setTimer">,
): Promise<void> {
  const late = Promise.withResolvers<never>();
  let timer: Timer | undefined;
  const leave = onAbort(gone, () => {
    timer = clock.setTimer(GONE_MS, () => late.reject(new ConnectError("CC_CANCELLED", "The caller gave up")));
  });
  try {
    await Promise.race([work, late.promise]);
  } finally {
    leave();
    timer?.cancel();
  }
}
