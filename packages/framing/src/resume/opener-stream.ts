import type { Clock, Timer } from "@cluster-connect/base";
import { ConnectError, ERRORS, type InstanceId, type Secret, UPSTREAM_KUBERNETES } from "@cluster-connect/protocol";
import { type Backoff, createBackoff } from "../dial/backoff.ts";
import type { OpenRequest } from "../session/options.ts";
import type { Session } from "../session/session.ts";
import type { MuxStream, StreamKeeper } from "../stream/mux-stream.ts";
import type { CurrentSession } from "./current-session.ts";
import { suspends } from "./lost.ts";

const RETRY = { baseDelayMs: 200, maxDelayMs: 2_000 } as const;
/** A stream that is lost again sooner than this was moved to where it cannot stay. It is not moved at once again. */
const STABLE_AFTER_MS = 2_000;
/** Time for a channel that is dialed at once. */
const REDIAL_MS = 100;

/** How a stream was opened. */
export interface OpenerStreamRequest {
  readonly request: OpenRequest;
  readonly key: Secret;
  /** Whether the same bytes may be sent anew when the channel is lost before an answer. */
  readonly reopen: boolean;
}

/** Dependencies that the opener's streams share. */
export interface OpenerStreamDeps {
  /** How long a stream is kept that has no answer, and at most without a channel all the while; milliseconds. */
  readonly graceMs: number;
  readonly pendingGraceMs: number;
  /** The same since it was opened, but for a moment to find another channel. */
  readonly pendingMs: number;
  readonly clock: Clock;
  readonly random: () => number;
  readonly secret: () => Secret;
  readonly sessions: CurrentSession;
  readonly onMissing: ((stream: MuxStream, request: OpenRequest) => void) | undefined;
  readonly onResumed: ((stream: MuxStream, afterMs: number) => void) | undefined;
  readonly onEnded: (stream: OpenerStream) => void;
}

/** An opener's stream, from one session to the next. */
export class OpenerStream implements StreamKeeper {
  readonly stream: MuxStream;
  readonly #request: OpenRequest;
  readonly #reopen: boolean;
  readonly #deps: OpenerStreamDeps;
  readonly #openedAt: number;
  #key: Secret;
  #session: Session;
  #attempt = 0;
  /** None before it was lost for the first time: most streams never are. */
  #backoff: Backoff | undefined;
  #suspendedAt: number | undefined;
  /** When it last went to another session. */
  #movedAt: number | undefined;
  #missing = false;
  #graceTimer: Timer | undefined;
  #pendingTimer: Timer | undefined;
  #retryTimer: Timer | undefined;

  constructor(
    stream: MuxStream,
    session: Session,
    { request, key, reopen }: OpenerStreamRequest,
    deps: OpenerStreamDeps,
  ) {
    this.stream = stream;
    this.#session = session;
    this.#request = request;
    this.#key = key;
    this.#reopen = reopen;
    this.#deps = deps;
    this.#openedAt = deps.clock.monotonicNow();
  }

  suspended(error: ConnectError): boolean {
    if (!this.#mayContinue(error)) return false;
    if (error.code === "CC_STREAM_FINISHED") {
      this.stream.endpoint.conclude();
      return true;
    }
    this.#startGrace();
    this.#startPendingGrace();
    if (error.code === "CC_AGENT_OFFLINE" && !this.#missing) {
      this.#missing = true;
      this.#deps.onMissing?.(this.stream, this.#request);
    }
    this.#retryLater(error);
    return true;
  }

  answered(): void {
    this.#graceTimer?.cancel();
    this.#retryTimer?.cancel();
    this.#retryTimer = undefined;
    this.#missing = false;
    if (this.#suspendedAt === undefined) return;
    const afterMs = this.#deps.clock.monotonicNow() - this.#suspendedAt;
    this.#suspendedAt = undefined;
    this.#deps.onResumed?.(this.stream, afterMs);
  }

  ended(): void {
    this.#graceTimer?.cancel();
    this.#pendingTimer?.cancel();
    this.#retryTimer?.cancel();
    this.#deps.onEnded(this);
  }

  /** A session is ready: a stream that is held elsewhere or nowhere goes there. */
  follow(session: Session): void {
    if (this.#session !== session || this.stream.endpoint.suspended) this.#move(session);
  }

  /** The time without a channel begins, unless it has; a stream that is moved is without one until it is answered. */
  #startGrace(): void {
    if (this.#suspendedAt !== undefined) return;
    const { stream } = this;
    const { clock, graceMs } = this.#deps;
    this.#suspendedAt = clock.monotonicNow();
    this.#graceTimer = clock.setTimer(stream.answer?.graceMs ?? graceMs, () => {
      stream.reset("CC_RESUME_EXPIRED", "The stream was without a channel for longer than its grace time");
    });
  }

  /** Without a channel a stream that was not answered waits no longer than one that is opened now. */
  #startPendingGrace(): void {
    const { stream } = this;
    const { clock, pendingGraceMs, pendingMs } = this.#deps;
    if (stream.answer !== undefined || this.#pendingTimer !== undefined) return;
    const leftMs = this.#openedAt + pendingMs - clock.monotonicNow();
    this.#pendingTimer = clock.setTimer(Math.min(pendingGraceMs, Math.max(REDIAL_MS, leftMs)), () => {
      stream.reset("CC_CHANNEL_LOST", "The channel to the relay was lost before an answer, and none came in its place");
    });
  }

  /** Whether the stream is worth another attempt after this. */
  #mayContinue(error: ConnectError): boolean {
    const { answer, endpoint } = this.stream;
    const { sessions, pendingGraceMs } = this.#deps;
    if (sessions.closed || !suspends(error.code)) return false;
    if (answer === undefined) {
      // A draining peer has passed nothing on; a channel that was lost may have.
      return pendingGraceMs > 0 && (error.code === "CC_DRAINING" || (this.#reopen && error.code === "CC_CHANNEL_LOST"));
    }
    if (answer.graceMs === 0) return false;
    if (error.code === "CC_STREAM_FINISHED") return endpoint.over;
    return error.code === "CC_CHANNEL_LOST" || ERRORS[error.code].retry;
  }

  #retryLater(error: ConnectError): void {
    const { clock, sessions } = this.#deps;
    this.#retryTimer?.cancel();
    const first = this.#retryTimer === undefined;
    const stayed = this.#movedAt === undefined || clock.monotonicNow() - this.#movedAt >= STABLE_AFTER_MS;
    this.#backoff ??= createBackoff(RETRY, this.#deps);
    if (first && stayed) this.#backoff.reset();
    const atOnce = first && stayed && error.code === "CC_CHANNEL_LOST";
    const delayMs = atOnce ? 0 : this.#backoff.next(error.retryAfterMs);
    this.#retryTimer = clock.setTimer(delayMs, () => {
      const { usable } = sessions;
      if (usable !== undefined) this.#move(usable);
    });
  }

  /** Takes the stream out of the session it is in, if any, and goes on in this one. */
  #move(session: Session): void {
    const { answer, endpoint } = this.stream;
    if (endpoint.state === "closed") return;
    this.#retryTimer?.cancel();
    const resumes = answer !== undefined && answer.graceMs > 0;
    if (!resumes && (answer !== undefined || !endpoint.suspended)) return;
    this.#session = session;
    this.#movedAt = this.#deps.clock.monotonicNow();
    try {
      if (resumes) this.#resume(session, answer.instanceId);
      else this.#openAgain(session);
    } catch (error) {
      endpoint.lost(error instanceof ConnectError ? error : new ConnectError("CC_INTERNAL", String(error)));
    }
  }

  #resume(session: Session, instanceId: InstanceId): void {
    const { endpoint } = this.stream;
    this.#startGrace();
    endpoint.detach("CC_CHANNEL_LOST", "The stream goes on over a newer channel");
    this.#attempt += 1;
    const { cluster, upstream, viaPeer = false, caller } = this.#request;
    const resume = {
      ...endpoint.beginResume(),
      cluster,
      viaPeer,
      instanceId,
      key: this.#key,
      attempt: this.#attempt,
      ...(caller === undefined ? {} : { caller }),
      ...(upstream === UPSTREAM_KUBERNETES ? {} : { upstream }),
    };
    const { host, streamId } = session.addMember(endpoint, { kind: "resume", resume });
    endpoint.joinResuming(host, streamId);
  }

  #openAgain(session: Session): void {
    const { endpoint } = this.stream;
    this.#key = this.#deps.secret();
    const open = session.fillOpen({ ...this.#request, windowBytes: endpoint.windowBytes, key: this.#key });
    const { host, streamId } = session.addMember(endpoint, { kind: "open", open });
    this.#pendingTimer?.cancel();
    this.#pendingTimer = undefined;
    endpoint.reopen(host, streamId);
  }
}
