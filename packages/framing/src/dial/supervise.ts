import { type Clock, onAbort, SYSTEM_CLOCK, wait } from "@cluster-connect/base";
import { ConnectError, toConnectError } from "@cluster-connect/protocol";
import type { SessionEnd } from "../session/options.ts";
import type { Session } from "../session/session.ts";
import { type BackoffOptions, createBackoff } from "./backoff.ts";

export interface SuperviseOptions {
  /** Ends the supervision and closes every session it holds. */
  readonly signal: AbortSignal;
  readonly backoff?: BackoffOptions;
  /** Whether streams wait for the next session: while they do, it is dialed at least once a second. */
  readonly atStake?: () => boolean;
  /** A session that was ready this long, or in which a stream went on, is a success. The next wait is short. */
  readonly stableAfterMs?: number;
  /** The session is ready to use; one before it may still drain. */
  readonly onReady?: (session: Session) => void;
  /** The session is over or drains, or an attempt failed; the next attempt comes after `delayMs`. */
  readonly onEnd?: (error: ConnectError, delayMs: number) => void;
  /**
   * Calls back when the network may have changed, until the signal is aborted. The session is then pinged at once, and
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
/** The longest wait while streams are at stake; half of it is jitter. */
const URGENT_WAIT_MS = 1_000;

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
  const leave = onAbort(signal, closeAll);
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
      const delayMs = nextWait(error);
      options.onEnd?.(error, delayMs);
      await pause(delayMs);
    }
  } finally {
    leave();
  }

  /** A relay that says when to come again is obeyed, also while streams wait. */
  function nextWait({ retryAfterMs }: ConnectError): number {
    const delayMs = backoff.next(retryAfterMs);
    if (retryAfterMs !== undefined || options.atStake?.() !== true) return delayMs;
    return Math.min(delayMs, (URGENT_WAIT_MS * (1 + deps.random())) / 2);
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
      const readyAt = deps.clock.monotonicNow();
      options.onReady?.(session);
      await session.draining;
      const isStable = deps.clock.monotonicNow() - readyAt >= (options.stableAfterMs ?? STABLE_AFTER_MS);
      if (isStable || session.counters.resumedStreams > 0) backoff.reset();
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
