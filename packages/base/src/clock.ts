import { onAbort } from "./abort.ts";

/** A timer that was set and can be called off; cancelling twice does nothing. */
export interface Timer {
  cancel(): void;
}

/** Time as an argument, so that tests own it. */
export interface Clock {
  /** Milliseconds since 1970. Somebody may set this clock forth or back. */
  now(): number;
  /** Milliseconds on a clock that never goes back, for how long something takes. */
  monotonicNow(): number;
  setTimer(delayMs: number, fire: () => void): Timer;
}

/** The machine's own clock. */
export const SYSTEM_CLOCK: Clock = {
  now: () => Date.now(),
  monotonicNow: () => performance.now(),
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
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const { signal } = options;
  if (signal.aborted) {
    reject(signal.reason);
    return promise;
  }
  const timer = deps.clock.setTimer(delayMs, () => {
    leave();
    resolve();
  });
  const leave = onAbort(signal, () => {
    timer.cancel();
    reject(signal.reason);
  });
  return promise;
}

/**
 * Runs a task now and again after each pause, one run at a time, until the signal is aborted.
 *
 * @returns when the signal is aborted and the last run has settled.
 * @throws what a run throws: a task that may fail handles that itself.
 */
export async function repeat(
  task: () => Promise<void> | void,
  options: { readonly intervalMs: number; readonly signal: AbortSignal },
  deps: { readonly clock: Clock } = { clock: SYSTEM_CLOCK },
): Promise<void> {
  const { intervalMs, signal } = options;
  while (!signal.aborted) {
    await task();
    await wait(intervalMs, { signal }, deps).catch((error: unknown) => {
      if (!signal.aborted) throw error;
    });
  }
}
