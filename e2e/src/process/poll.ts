import { setTimeout as delay } from "node:timers/promises";

/** How often something that cannot announce itself is looked at. */
export interface PollOptions {
  readonly signal: AbortSignal;
  readonly intervalMs?: number;
}

const DEFAULT_INTERVAL_MS = 50;

/**
 * Asks `probe` until it answers with something, and returns that.
 *
 * @throws the signal's reason once it aborts, or the error that `probe` throws.
 */
export async function pollUntil<T>(probe: () => Promise<T | undefined>, options: PollOptions): Promise<T> {
  const { signal, intervalMs = DEFAULT_INTERVAL_MS } = options;
  for (;;) {
    signal.throwIfAborted();
    const answer = await probe();
    if (answer !== undefined) return answer;
    await delay(intervalMs, undefined, { signal });
  }
}
