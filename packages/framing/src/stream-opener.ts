import { ConnectError, ERRORS, type Open, RESUME_GRACE_MS, type Secret } from "@cluster-connect/protocol";
import { type Backoff, createBackoff } from "./backoff.ts";
import { type Clock, SYSTEM_CLOCK, type Timer } from "./clock.ts";
import { SYSTEM_SESSION_DEPS } from "./deps.ts";
import { suspends } from "./lost.ts";
import type { ResumeCounters } from "./resume-registry.ts";
import type { Session } from "./session.ts";
import type { OpenRequest } from "./session-options.ts";
import type { MuxStream, StreamKeeper } from "./stream.ts";

/** The opener's side of resume: opens streams in whichever session is current and moves them to the next one. */
export interface StreamOpener {
  /**
   * Opens a stream as soon as there is a session that takes one.
   *
   * @throws the signal's reason, or ConnectError as `Session.open`.
   */
  open(request: OpenRequest, options: OpenerOpenOptions): Promise<MuxStream>;
  /** A session is ready: new streams go there, and those that are held elsewhere or nowhere move there. */
  use(session: Session): void;
  readonly counters: ResumeCounters;
  /** Resets every stream and refuses waiting opens. */
  close(): void;
}

export interface OpenerOpenOptions {
  readonly signal: AbortSignal;
  /**
   * Whether a stream whose channel was lost before there was an answer is opened again with the same bytes: right for
   * a TLS ClientHello, wrong for anything that acts when it is read twice.
   */
  readonly reopen?: boolean;
}

export interface StreamOpenerOptions {
  /** How long streams are kept without a channel, milliseconds; 0 for not at all. */
  readonly graceMs?: number;
  /** The agent's replica that holds the stream is not there; the stream waits for it. Said once for each loss. */
  readonly onMissing?: (stream: MuxStream, request: OpenRequest) => void;
  /** The stream goes on after so long without a channel. */
  readonly onResumed?: (stream: MuxStream, afterMs: number) => void;
}

export interface StreamOpenerDeps {
  readonly clock: Clock;
  readonly random: () => number;
  readonly secret: () => Secret;
}

/** The machine's own clock and randomness. */
export const SYSTEM_STREAM_OPENER_DEPS: StreamOpenerDeps = {
  clock: SYSTEM_CLOCK,
  random: Math.random,
  secret: SYSTEM_SESSION_DEPS.secret,
};

const RETRY = { baseDelayMs: 200, maxDelayMs: 2_000 } as const;
/** A stream that is lost again sooner than this was moved to where it cannot stay, and is not moved at once again. */
const STABLE_AFTER_MS = 2_000;

interface Kept {
  readonly stream: MuxStream;
  readonly request: OpenRequest;
  readonly reopen: boolean;
  /** None before it was lost for the first time: most streams never are. */
  backoff: Backoff | undefined;
  key: Secret;
  session: Session;
  attempt: number;
  suspendedAt: number | undefined;
  /** When it last went to another session. */
  movedAt: number | undefined;
  missing: boolean;
  graceTimer: Timer | undefined;
  retryTimer: Timer | undefined;
}

export function createStreamOpener(
  options: StreamOpenerOptions = {},
  deps: StreamOpenerDeps = SYSTEM_STREAM_OPENER_DEPS,
): StreamOpener {
  const graceMs = options.graceMs ?? RESUME_GRACE_MS;
  const kept = new Map<MuxStream, Kept>();
  const waiting = new Set<() => void>();
  let current: Session | undefined;
  let closed = false;

  const keeper: StreamKeeper = {
    suspended(stream, error) {
      const entry = kept.get(stream);
      if (entry === undefined || !mayContinue(entry, error)) return false;
      if (error.code === "CC_STREAM_FINISHED") {
        stream.endpoint.conclude();
        return true;
      }
      startGrace(entry);
      if (error.code === "CC_AGENT_OFFLINE" && !entry.missing) {
        entry.missing = true;
        options.onMissing?.(stream, entry.request);
      }
      retryLater(entry, error);
      return true;
    },
    answered(stream) {
      const entry = kept.get(stream);
      if (entry !== undefined) settled(entry);
    },
    ended(stream) {
      const entry = kept.get(stream);
      entry?.graceTimer?.cancel();
      entry?.retryTimer?.cancel();
      kept.delete(stream);
    },
  };

  /** The time without a channel begins, unless it has; a stream that is moved is without one until it is answered. */
  function startGrace(entry: Kept): void {
    if (entry.suspendedAt !== undefined) return;
    const { stream } = entry;
    entry.suspendedAt = deps.clock.now();
    entry.graceTimer = deps.clock.setTimer(stream.answer?.graceMs ?? graceMs, () => {
      stream.reset("CC_RESUME_EXPIRED", "The stream was without a channel for longer than its grace time");
    });
  }

  /** Whether the stream is worth another attempt after this. */
  function mayContinue(entry: Kept, error: ConnectError): boolean {
    const { answer, endpoint } = entry.stream;
    if (closed || !suspends(error.code)) return false;
    if (answer === undefined) {
      // Who drains has passed nothing on; a channel that was lost may have.
      return graceMs > 0 && (error.code === "CC_DRAINING" || (entry.reopen && error.code === "CC_CHANNEL_LOST"));
    }
    if (answer.graceMs === 0) return false;
    if (error.code === "CC_STREAM_FINISHED") return endpoint.over;
    return error.code === "CC_CHANNEL_LOST" || ERRORS[error.code].retry;
  }

  function settled(entry: Kept): void {
    entry.graceTimer?.cancel();
    entry.retryTimer?.cancel();
    entry.retryTimer = undefined;
    entry.missing = false;
    if (entry.suspendedAt === undefined) return;
    const afterMs = deps.clock.now() - entry.suspendedAt;
    entry.suspendedAt = undefined;
    options.onResumed?.(entry.stream, afterMs);
  }

  function retryLater(entry: Kept, error: ConnectError): void {
    entry.retryTimer?.cancel();
    const first = entry.retryTimer === undefined;
    const stayed = entry.movedAt === undefined || deps.clock.now() - entry.movedAt >= STABLE_AFTER_MS;
    entry.backoff ??= createBackoff(RETRY, deps);
    if (first && stayed) entry.backoff.reset();
    const atOnce = first && stayed && error.code === "CC_CHANNEL_LOST";
    const delayMs = atOnce ? 0 : entry.backoff.next(error.retryAfterMs);
    entry.retryTimer = deps.clock.setTimer(delayMs, () => {
      if (current !== undefined && isUsable(current)) move(entry, current);
    });
  }

  /** Takes the stream out of the session it is in, if any, and goes on in this one. */
  function move(entry: Kept, session: Session): void {
    const { stream } = entry;
    const { endpoint } = stream;
    if (endpoint.state === "closed") return;
    entry.retryTimer?.cancel();
    const { answer } = stream;
    if (answer !== undefined && answer.graceMs > 0) {
      startGrace(entry);
      endpoint.detach("CC_CHANNEL_LOST", "The stream goes on over a newer channel");
      entry.attempt += 1;
      const { cluster, forwarded = false, caller } = entry.request;
      const resume = {
        ...endpoint.beginResume(),
        cluster,
        forwarded,
        instanceId: answer.instanceId,
        key: entry.key,
        attempt: entry.attempt,
        ...(caller === undefined ? {} : { caller }),
      };
      enter(entry, session, () => {
        const { host, streamId } = session.addMember(endpoint, { kind: "resume", resume });
        endpoint.joinResuming(host, streamId);
      });
    } else if (answer === undefined && endpoint.suspended) {
      entry.key = deps.secret();
      enter(entry, session, () => {
        const open: Open = session.fillOpen({ ...entry.request, key: entry.key });
        const { host, streamId } = session.addMember(endpoint, { kind: "open", open });
        endpoint.reopen(host, streamId);
      });
    }
  }

  function enter(entry: Kept, session: Session, join: () => void): void {
    entry.session = session;
    entry.movedAt = deps.clock.now();
    try {
      join();
    } catch (error) {
      const reason = error instanceof ConnectError ? error : new ConnectError("CC_INTERNAL", String(error));
      entry.stream.endpoint.lost(reason);
    }
  }

  function isUsable(session: Session): boolean {
    return session.state !== "closed" && session.state !== "draining";
  }

  async function usable(signal: AbortSignal): Promise<Session> {
    for (;;) {
      signal.throwIfAborted();
      if (closed) throw new ConnectError("CC_SESSION_CLOSED", "No more streams are opened");
      if (current !== undefined && isUsable(current)) return current;
      const { promise, resolve } = Promise.withResolvers<void>();
      const wakeUp = (): void => resolve();
      waiting.add(wakeUp);
      signal.addEventListener("abort", wakeUp, { once: true });
      await promise;
      waiting.delete(wakeUp);
      signal.removeEventListener("abort", wakeUp);
    }
  }

  function wake(): void {
    for (const resolve of waiting) resolve();
  }

  return {
    async open(request, { signal, reopen = false }) {
      let session = await usable(signal);
      // GOAWAY may have come since.
      while (!isUsable(session)) session = await usable(signal);
      const key = request.key ?? deps.secret();
      const full = { graceMs, ...request };
      const stream = session.open({ ...full, key }, { signal });
      const entry: Kept = {
        stream,
        request: full,
        reopen,
        backoff: undefined,
        key,
        session,
        attempt: 0,
        suspendedAt: undefined,
        movedAt: undefined,
        missing: false,
        graceTimer: undefined,
        retryTimer: undefined,
      };
      kept.set(stream, entry);
      stream.keeper = keeper;
      return stream;
    },
    use(session) {
      current = session;
      wake();
      for (const entry of [...kept.values()]) {
        if (entry.session !== session || entry.stream.endpoint.suspended) move(entry, session);
      }
    },
    get counters() {
      let suspended = 0;
      let retainedBytes = 0;
      for (const { stream } of kept.values()) {
        if (stream.endpoint.suspended) suspended += 1;
        retainedBytes += stream.endpoint.retainedBytes;
      }
      return { streams: kept.size, suspended, retainedBytes };
    },
    close() {
      closed = true;
      for (const { stream } of [...kept.values()]) stream.reset("CC_SESSION_CLOSED", "The opener stops");
      wake();
    },
  };
}
