import { RESUME_GRACE_MS, type Secret } from "@cluster-connect/protocol";
import { type Clock, SYSTEM_CLOCK } from "./clock.ts";
import { CurrentSession } from "./current-session.ts";
import { SYSTEM_SESSION_DEPS } from "./deps.ts";
import { type KeptDeps, KeptStream } from "./kept-stream.ts";
import type { ResumeCounters } from "./resume-registry.ts";
import type { Session } from "./session.ts";
import type { OpenRequest } from "./session-options.ts";
import type { MuxStream } from "./stream.ts";

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

export function createStreamOpener(
  options: StreamOpenerOptions = {},
  deps: StreamOpenerDeps = SYSTEM_STREAM_OPENER_DEPS,
): StreamOpener {
  const { graceMs = RESUME_GRACE_MS, onMissing, onResumed } = options;
  const kept = new Set<KeptStream>();
  const sessions = new CurrentSession();
  const keptDeps: KeptDeps = {
    ...deps,
    graceMs,
    sessions,
    onMissing,
    onResumed,
    onEnded: (stream) => kept.delete(stream),
  };

  return {
    async open(request, { signal, reopen = false }) {
      let session = await sessions.wait(signal);
      // GOAWAY may have come since.
      while (session !== sessions.usable) session = await sessions.wait(signal);
      const key = request.key ?? deps.secret();
      const full = { graceMs, ...request };
      const stream = session.open({ ...full, key }, { signal });
      const entry = new KeptStream(stream, session, { request: full, key, reopen }, keptDeps);
      kept.add(entry);
      stream.keeper = entry;
      return stream;
    },
    use(session) {
      sessions.use(session);
      for (const stream of [...kept]) stream.follow(session);
    },
    get counters() {
      let suspended = 0;
      let retainedBytes = 0;
      for (const { stream } of kept) {
        if (stream.endpoint.suspended) suspended += 1;
        retainedBytes += stream.endpoint.retainedBytes;
      }
      return { streams: kept.size, suspended, retainedBytes };
    },
    close() {
      sessions.close();
      for (const { stream } of [...kept]) stream.reset("CC_SESSION_CLOSED", "The opener stops");
    },
  };
}
