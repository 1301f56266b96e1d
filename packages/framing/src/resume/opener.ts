import { type Clock, SYSTEM_CLOCK } from "@cluster-connect/base";
import { RESUME_GRACE_MS, type Secret } from "@cluster-connect/protocol";
import { createSecret } from "../session/deps.ts";
import type { OpenRequest } from "../session/options.ts";
import type { Session } from "../session/session.ts";
import type { MuxStream } from "../stream/mux-stream.ts";
import { CurrentSession } from "./current-session.ts";
import { OpenerStream, type OpenerStreamDeps } from "./opener-stream.ts";
import type { ResumeCounters } from "./taker.ts";

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
   * Whether a stream whose channel was lost before there was an answer is opened again with the same bytes. This is
   * right for a TLS ClientHello, and wrong for anything that acts when it is read twice.
   */
  readonly reopen?: boolean;
}

export interface StreamOpenerOptions {
  /** How long streams are kept without a channel, milliseconds; 0 for not at all. */
  readonly graceMs?: number;
  /** The same for a stream that was not answered yet; by default as long, but no longer than the others. */
  readonly pendingGraceMs?: number;
  /** The same, counted from when the stream was opened: a channel that was slow to be found dead took time of it. */
  readonly pendingMs?: number;
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
  secret: createSecret,
};

export function createStreamOpener(
  options: StreamOpenerOptions = {},
  deps: StreamOpenerDeps = SYSTEM_STREAM_OPENER_DEPS,
): StreamOpener {
  const { graceMs = RESUME_GRACE_MS, onMissing, onResumed } = options;
  const pendingGraceMs = Math.min(graceMs, options.pendingGraceMs ?? graceMs);
  const { pendingMs = Number.POSITIVE_INFINITY } = options;
  const streams = new Set<OpenerStream>();
  const sessions = new CurrentSession();
  const streamDeps: OpenerStreamDeps = {
    ...deps,
    graceMs,
    pendingGraceMs,
    pendingMs,
    sessions,
    onMissing,
    onResumed,
    onEnded: (stream) => streams.delete(stream),
  };

  return {
    async open(request, { signal, reopen = false }) {
      let session = await sessions.wait(signal);
      // GOAWAY may have come since.
      while (session !== sessions.usable) session = await sessions.wait(signal);
      const key = request.key ?? deps.secret();
      const full = { graceMs, ...request };
      const stream = session.open({ ...full, key }, { signal });
      const entry = new OpenerStream(stream, session, { request: full, key, reopen }, streamDeps);
      streams.add(entry);
      stream.keeper = entry;
      return stream;
    },
    use(session) {
      sessions.use(session);
      for (const stream of [...streams]) stream.follow(session);
    },
    get counters() {
      let suspended = 0;
      let retainedBytes = 0;
      for (const { stream } of streams) {
        if (stream.endpoint.suspended) suspended += 1;
        retainedBytes += stream.endpoint.retainedBytes;
      }
      return { streams: streams.size, suspended, retainedBytes };
    },
    close() {
      sessions.close();
      for (const { stream } of [...streams]) stream.reset("CC_SESSION_CLOSED", "The opener stops");
    },
  };
}
