import { type Clock, wait } from "@cluster-connect/base";
import { createBackoff } from "@cluster-connect/framing";
import { ConnectError, ERRORS, toConnectError } from "@cluster-connect/protocol";
import { errorFields, type Logger } from "@cluster-connect/service";

/**
 * Asks one relay after the other until one answers, with growing waits.
 *
 * @param event for the log.
 * @throws ConnectError what does not pass by waiting; the signal's reason.
 */
export async function askRelays<T>(
  urls: readonly URL[],
  event: string,
  ask: (relay: URL) => Promise<T>,
  options: { readonly signal: AbortSignal },
  deps: { readonly log: Logger; readonly clock: Clock; readonly random: () => number },
): Promise<T> {
  const backoff = createBackoff({}, deps);
  for (let attempt = 0; ; attempt += 1) {
    const relay = urls[attempt % urls.length];
    if (relay === undefined) throw new ConnectError("CC_CONFIG_INVALID", "relay.urls: names no relay");
    try {
      return await ask(relay);
    } catch (cause) {
      options.signal.throwIfAborted();
      const error = toConnectError(cause);
      if (!ERRORS[error.code].retry) throw error;
      const delayMs = Math.round(backoff.next(error.retryAfterMs));
      const { hint } = error;
      deps.log.warn({ event, delayMs, ...errorFields(error), hint }, "no relay has answered yet, trying again");
      await wait(delayMs, { signal: options.signal }, deps);
    }
  }
}
