import { setTimeout as delay } from "node:timers/promises";

/** Time as an argument, so that tests can hold it still. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Waits; rejects with the signal's reason when it is aborted. */
  wait(ms: number, options: { readonly signal: AbortSignal }): Promise<void>;
}

export const SYSTEM_CLOCK: Clock = {
  now: () => Date.now(),
  wait: async (ms, { signal }) => {
    await delay(ms, undefined, { signal });
  },
};

/**
 * Runs a task now and again after each pause, one run at a time, until the signal is aborted.
 *
 * @returns when the signal is aborted and the last run has settled.
 * @throws whatever a run throws: a task that may fail handles that itself.
 */
export async function repeat(
  task: () => Promise<void> | void,
  options: { readonly intervalMs: number; readonly signal: AbortSignal },
  clock: Clock = SYSTEM_CLOCK,
): Promise<void> {
  const { intervalMs, signal } = options;
  while (!signal.aborted) {
    await task();
    await clock.wait(intervalMs, { signal }).catch((error: unknown) => {
      if (!signal.aborted) throw error;
    });
  }
}
