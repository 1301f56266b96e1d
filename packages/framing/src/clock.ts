/** A timer that was set and can be called off; cancelling twice does nothing. */
export interface Timer {
  cancel(): void;
}

/** Time as an argument, so that tests own it. */
export interface Clock {
  /** Milliseconds on a clock that never goes back. */
  now(): number;
  setTimer(delayMs: number, fire: () => void): Timer;
}

/** The machine's own clock. */
export const SYSTEM_CLOCK: Clock = {
  now: () => performance.now(),
  setTimer(delayMs, fire) {
    const timer = setTimeout(fire, delayMs);
    return { cancel: () => clearTimeout(timer) };
  },
};

/**
 * Waits.
 *
 * @throws the signal's reason when it is aborted first.
 */
export function wait(
  delayMs: number,
  options: { readonly signal: AbortSignal },
  deps: { readonly clock: Clock },
): Promise<void> {
  const { signal } = options;
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    const onAbort = (): void => {
      timer.cancel();
      reject(signal.reason);
    };
    const timer = deps.clock.setTimer(delayMs, () => {
      signal.removeEventListener("abort", onAbort);
      resolve();
    });
    signal.addEventListener("abort", onAbort, { once: true });
  });
}
