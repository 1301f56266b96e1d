import { type Clock, onAbort } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";

/**
 * Runs something with an end: its signal is aborted when the time is up or when the outer one is. Leaves no timer.
 *
 * @param options.what Named in the `CC_TIMEOUT` that is the signal's reason then.
 */
export async function withDeadline<T>(
  options: { readonly ms: number; readonly what: string; readonly signal: AbortSignal },
  run: (signal: AbortSignal) => Promise<T>,
  clock: Pick<Clock, "setTimer">,
): Promise<T> {
  const { ms, what, signal } = options;
  signal.throwIfAborted();
  const controller = new AbortController();
  const expire = (): void => controller.abort(new ConnectError("CC_TIMEOUT", `${what} took too long`));
  const timer = clock.setTimer(ms, expire);
  const leave = onAbort(signal, () => controller.abort(signal.reason));
  try {
    return await run(controller.signal);
  } finally {
    timer.cancel();
    leave();
  }
}
