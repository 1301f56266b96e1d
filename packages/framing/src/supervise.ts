import { ConnectError, ERRORS, toConnectError } from "@cluster-connect/protocol";
import { type BackoffOptions, createBackoff } from "./backoff.ts";
import { type Clock, SYSTEM_CLOCK, wait } from "./clock.ts";
import type { Session } from "./session.ts";
import type { SessionEnd } from "./session-options.ts";

export interface SuperviseOptions {
  /** Ends the supervision; the session is drained by whoever aborts, or closed. */
  readonly signal: AbortSignal;
  readonly backoff?: BackoffOptions;
  /** A session that was ready at least this long counts as a success: the next wait is short. */
  readonly stableAfterMs?: number;
  /** The session is ready to use. */
  readonly onReady?: (session: Session) => void;
  /** The session that was ready is over, or an attempt failed; the next attempt comes after `delayMs`. */
  readonly onEnd?: (error: ConnectError, delayMs: number) => void;
  /** Whether to try again after this error; by default, always. */
  readonly retry?: (error: ConnectError) => boolean;
}

export interface SuperviseDeps {
  readonly clock: Clock;
  readonly random: () => number;
}

/** The machine's own clock and randomness. */
export const SYSTEM_SUPERVISE_DEPS: SuperviseDeps = { clock: SYSTEM_CLOCK, random: Math.random };

const STABLE_AFTER_MS = 10_000;

/**
 * Keeps one session up: dial, run, wait, again.
 *
 * After GOAWAY the next session is dialed at once, while the old one still drains.
 *
 * @param dial opens a channel and begins a session; it may not be ready yet.
 * @returns only by throwing: the signal's reason, or the error that `retry` declined.
 */
export async function supervise(
  dial: (signal: AbortSignal) => Promise<Session>,
  options: SuperviseOptions,
  deps: SuperviseDeps = SYSTEM_SUPERVISE_DEPS,
): Promise<never> {
  const { signal } = options;
  const backoff = createBackoff(options.backoff ?? {}, deps);
  for (;;) {
    signal.throwIfAborted();
    let error: ConnectError;
    try {
      const session = await dial(signal);
      const stop = (): void => session.close();
      signal.addEventListener("abort", stop, { once: true });
      try {
        await session.ready;
        const readyAt = deps.clock.now();
        options.onReady?.(session);
        const end = await over(session);
        if (deps.clock.now() - readyAt >= (options.stableAfterMs ?? STABLE_AFTER_MS)) backoff.reset();
        error = errorOfEnd(end);
      } finally {
        signal.removeEventListener("abort", stop);
      }
    } catch (cause) {
      signal.throwIfAborted();
      error = toConnectError(cause);
    }
    signal.throwIfAborted();
    if (options.retry?.(error) === false) throw error;
    const delayMs = backoff.next(error.retryAfterMs);
    options.onEnd?.(error, delayMs);
    await wait(delayMs, { signal }, deps);
  }
}

async function over(session: Session): Promise<SessionEnd> {
  return await session.closed;
}

/** The end of a session as an error, for logs and for the decision to try again. */
export function errorOfEnd(end: SessionEnd): ConnectError {
  const code = end.code ?? "CC_SESSION_CLOSED";
  const retry = end.retryAfterMs > 0 ? { retryAfterMs: end.retryAfterMs } : {};
  return new ConnectError(code, end.text === "" ? `The session ended: ${ERRORS[code].hint}` : end.text, retry);
}
