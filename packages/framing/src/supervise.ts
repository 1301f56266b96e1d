import { ConnectError, toConnectError } from "@cluster-connect/protocol";
import { type BackoffOptions, createBackoff } from "./backoff.ts";
import { type Clock, SYSTEM_CLOCK, wait } from "./clock.ts";
import type { Session } from "./session.ts";
import type { SessionEnd } from "./session-options.ts";

export interface SuperviseOptions {
  /** Ends the supervision and closes every session it holds. */
  readonly signal: AbortSignal;
  readonly backoff?: BackoffOptions;
  /** A session that was ready at least this long counts as a success: the next wait is short. */
  readonly stableAfterMs?: number;
  /** The session is ready to use; one before it may still drain. */
  readonly onReady?: (session: Session) => void;
  /** The session is over or drains, or an attempt failed; the next attempt comes after `delayMs`. */
  readonly onEnd?: (error: ConnectError, delayMs: number) => void;
  /**
   * Calls back when the network may have changed, until the signal is aborted: the session is then pinged at once, and
   * a wait for the next attempt ends.
   */
  readonly onWake?: (wake: () => void, signal: AbortSignal) => void;
  /** Whether to try again after this error; by default, always. */
  readonly retry?: (error: ConnectError) => boolean;
}

export interface SuperviseDeps {
  readonly clock: Clock;
  /** A number from 0 to below 1. */
  readonly random: () => number;
}

/** The machine's own clock and randomness. */
export const SYSTEM_SUPERVISE_DEPS: SuperviseDeps = { clock: SYSTEM_CLOCK, random: Math.random };

const STABLE_AFTER_MS = 10_000;

/**
 * Keeps one session up: dial, run, wait, again.
 *
 * After GOAWAY the next session is dialed while the old one still drains.
 *
 * @param dial opens a channel and begins a session, which need not be ready yet.
 * @returns only by throwing: the signal's reason, or the error that `retry` declined.
 */
export async function supervise(
  dial: (signal: AbortSignal) => Promise<Session>,
  options: SuperviseOptions,
  deps: SuperviseDeps = SYSTEM_SUPERVISE_DEPS,
): Promise<never> {
  const { signal } = options;
  const backoff = createBackoff(options.backoff ?? {}, deps);
  const held = new Set<Session>();
  const closeAll = (): void => {
    for (const session of held) session.close();
  };
  signal.addEventListener("abort", closeAll, { once: true });
  let waiting: AbortController | undefined;
  options.onWake?.(() => {
    for (const session of held) session.probe();
    backoff.reset();
    waiting?.abort();
  }, signal);
  try {
    for (;;) {
      const error = await attempt();
      signal.throwIfAborted();
      if (options.retry?.(error) === false) throw error;
      const delayMs = backoff.next(error.retryAfterMs);
      options.onEnd?.(error, delayMs);
      await pause(delayMs);
    }
  } finally {
    signal.removeEventListener("abort", closeAll);
  }

  /** Waits for the next attempt; a wake ends it. */
  async function pause(delayMs: number): Promise<void> {
    waiting = new AbortController();
    try {
      await wait(delayMs, { signal: AbortSignal.any([signal, waiting.signal]) }, deps);
    } catch {
      signal.throwIfAborted();
    } finally {
      waiting = undefined;
    }
  }

  /** One session from dial until it takes no more streams; why it does not. */
  async function attempt(): Promise<ConnectError> {
    signal.throwIfAborted();
    try {
      const session = await dial(signal);
      held.add(session);
      void session.closed.then(() => held.delete(session));
      if (signal.aborted) session.close();
      await session.ready;
      const readyAt = deps.clock.now();
      options.onReady?.(session);
      await session.draining;
      if (deps.clock.now() - readyAt >= (options.stableAfterMs ?? STABLE_AFTER_MS)) backoff.reset();
      return session.goawayError ?? errorOfEnd(await session.closed);
    } catch (cause) {
      return toConnectError(cause);
    }
  }
}

/** The end of a session as an error, for logs and for the decision to try again. */
export function errorOfEnd(end: SessionEnd): ConnectError {
  const code = end.code ?? "CC_SESSION_CLOSED";
  const retry = end.retryAfterMs > 0 ? { retryAfterMs: end.retryAfterMs } : {};
  return new ConnectError(code, end.text === "" ? "The session ended" : end.text, retry);
}
