import { errorMonitor } from "node:events";
import { type Clock, onAbort } from "@cluster-connect/base";
import {
  createSessionBudgets,
  createSessionDeps,
  createStreamOpener,
  dialSession,
  type MuxStream,
  type Session,
  type StreamOpener,
  SYSTEM_STREAM_OPENER_DEPS,
  supervise,
  watchWake,
} from "@cluster-connect/framing";
import { dialWebSocket, proxyFor } from "@cluster-connect/framing/ws";
import {
  type ClusterId,
  ConnectError,
  type CorrelationId,
  parseCorrelationId,
  parseInstanceId,
  UPSTREAM_KUBERNETES,
} from "@cluster-connect/protocol";
import type { Environment } from "../deps.ts";
import type { CallerTokens } from "../tokens/caller-tokens.ts";
import { openStreamTraces } from "../tracing/stream-traces.ts";
import { SOFTWARE } from "../version.ts";
import { isLoopback } from "./address.ts";

/** Events of the channel, for the screen. */
export type RelayConnectionEvent =
  | { readonly kind: "connected"; readonly again: boolean }
  /** It was lost, or could not be dialed again; streams are kept for a while and go on when it is back. */
  | { readonly kind: "lost"; readonly error: ConnectError; readonly attempt: number; readonly streams: number }
  /** The agent's replica that holds streams of the cluster is not connected; they wait for it for so long at most. */
  | { readonly kind: "missing"; readonly cluster: ClusterId; readonly graceMs: number }
  /** It is back, and streams of the cluster go on. */
  | { readonly kind: "found"; readonly cluster: ClusterId }
  /** The collector that the environment names does not take spans; they are let go. */
  | { readonly kind: "untraced"; readonly host: string };

export interface RelayConnectionOptions {
  readonly relay: URL;
  /** Ends the connection and all its streams. */
  readonly signal: AbortSignal;
  readonly onEvent?: (event: RelayConnectionEvent) => void;
  /** Whether a first channel that could not be opened is dialed again; otherwise it never is. */
  readonly retryAtStart?: (error: ConnectError) => boolean;
}

export interface RelayConnectionDeps {
  readonly tokens: CallerTokens;
  readonly clock: Clock;
  readonly random: () => number;
  readonly env: Environment;
  /** Wall clock, milliseconds since 1970. */
  readonly now: () => number;
  readonly fetch: typeof fetch;
  /** Unpredictable bytes, for the ids of this instance and of its streams. */
  readonly randomBytes: (bytes: number) => Uint8Array;
}

export interface StreamOptions {
  readonly signal: AbortSignal;
  /** Where the agent takes the stream; the kube-apiserver unless told otherwise. */
  readonly upstream?: string;
}

/** One supervised channel to a relay that all local connections share. */
export interface RelayConnection {
  /** Resolves once the channel is up for the first time; rejects with why it cannot be. */
  readonly ready: Promise<void>;
  /** Round trip to the relay, when it was measured. */
  readonly rttMs: number | undefined;
  /**
   * Opens a stream to a cluster. Without a channel it waits for one, briefly.
   *
   * @throws ConnectError naming the relay when the channel does not come back in time.
   */
  open(cluster: ClusterId, options: StreamOptions): Promise<MuxStream>;
  /** Resolves when the connection has ended; never rejects. */
  readonly closed: Promise<void>;
}

/** How long a local connection waits for a channel that is being dialed again. */
const WAIT_FOR_CHANNEL_MS = 1_500;
/** How long one that found the channel dead waits in all; a caller hears within two seconds. */
const PENDING_MS = 1_800;
/** How long relay and agent may take to answer an OPEN. */
const ACCEPT_TIMEOUT_MS = 15_000;
/** Memory for the bytes of all streams; as much as an agent has by default. */
const BUFFER_BYTES = 268_435_456;
const INSTANCE_BYTES = 12;
const CORRELATION_BYTES = 16;

/** After a sleep or a new network the channel should be back within seconds. */
const BACKOFF = { baseDelayMs: 300, maxDelayMs: 5_000 } as const;

/** Dials a relay and keeps the channel up; each dial uses a token that is good now. */
export function connectRelay(options: RelayConnectionOptions, deps: RelayConnectionDeps): RelayConnection {
  const { signal } = options;
  const ready = Promise.withResolvers<void>();
  ready.promise.catch(() => {});
  const opener = createOpener(options, deps);
  const traces = openStreamTraces({ onFailure: (host) => options.onEvent?.({ kind: "untraced", host }) }, deps);
  const current = createCurrentSession(deps);
  let wasReady = false;
  let attempt = 0;
  // Before the channel closes: without it, the agent would keep the streams for a caller that comes back.
  onAbort(signal, opener.close);
  const closed = supervise(
    createDial(options, deps),
    {
      signal,
      backoff: BACKOFF,
      atStake: () => opener.counters.suspended > 0,
      onReady: (session) => {
        opener.use(session);
        options.onEvent?.({ kind: "connected", again: wasReady });
        wasReady = true;
        attempt = 0;
        ready.resolve();
        current.use(session);
      },
      onEnd: (error) => {
        current.lost(error);
        attempt += 1;
        if (wasReady) options.onEvent?.({ kind: "lost", error, attempt, streams: opener.counters.streams });
      },
      // Later, a person may log in again in another terminal: worth trying. At the start they are told at once.
      retry: (error) => wasReady || options.retryAtStart?.(error) === true,
    },
    { clock: deps.clock, random: deps.random },
  ).catch((error: unknown) => {
    ready.reject(error);
    opener.close();
    return traces?.close();
  });
  // A channel that died in the machine's sleep shows it only when it is asked.
  watchWake({ signal }, () => current.session()?.probe());
  return {
    ready: ready.promise,
    closed,
    get rttMs() {
      return current.session()?.counters.rttMs;
    },
    async open(cluster, { signal: streamSignal, upstream = UPSTREAM_KUBERNETES }) {
      const correlationId = parseCorrelationId(Buffer.from(deps.randomBytes(CORRELATION_BYTES)).toString("hex"));
      const asked = { cluster, upstream, correlationId };
      const openNow = async (more: { readonly traceparent?: string } = {}): Promise<MuxStream> => {
        await current.soon(streamSignal);
        // The bytes that go out before the answer are a TLS ClientHello, which may be sent again.
        return await opener.open({ ...asked, ...more }, { signal: streamSignal, reopen: true });
      };
      const stream = await (traces === undefined ? openNow() : traces.follow(asked, openNow));
      watchAnswer(stream, correlationId, deps.clock);
      return stream;
    },
  };
}

/** Opens streams, keeps them while there is no channel, and tells of agents that are missing and found again. */
function createOpener({ onEvent }: RelayConnectionOptions, deps: RelayConnectionDeps): StreamOpener {
  const missing = new Map<MuxStream, ClusterId>();
  const isMissing = (cluster: ClusterId): boolean => [...missing.values()].includes(cluster);
  return createStreamOpener(
    {
      // A request that was under way when the channel fell waits as long as one that comes then.
      pendingGraceMs: WAIT_FOR_CHANNEL_MS,
      pendingMs: PENDING_MS,
      onMissing(stream, { cluster }) {
        const isNews = !isMissing(cluster);
        missing.set(stream, cluster);
        void stream.done.then(() => missing.delete(stream));
        const graceMs = stream.answer?.graceMs ?? 0;
        if (isNews) onEvent?.({ kind: "missing", cluster, graceMs });
      },
      onResumed(stream) {
        const cluster = missing.get(stream);
        missing.delete(stream);
        if (cluster !== undefined && !isMissing(cluster)) onEvent?.({ kind: "found", cluster });
      },
    },
    { ...SYSTEM_STREAM_OPENER_DEPS, clock: deps.clock, random: deps.random },
  );
}

function createDial(
  { relay }: RelayConnectionOptions,
  deps: RelayConnectionDeps,
): (signal: AbortSignal) => Promise<Session> {
  const url = new URL("/v1/connect", relay);
  const instanceId = parseInstanceId(Buffer.from(deps.randomBytes(INSTANCE_BYTES)).toString("base64url"));
  const sessionDeps = createSessionDeps();
  const budgets = createSessionBudgets(BUFFER_BYTES);
  return async (signal) => {
    const { token } = await deps.tokens.token("relay", { signal });
    const headers = { authorization: `Bearer ${token}`, "user-agent": SOFTWARE };
    const proxy = isLoopback(relay) ? undefined : proxyFor(url, deps.env);
    const channel = await dialWebSocket(url, { signal, headers, proxy });
    return dialSession(channel, { role: "cli", instanceId, software: SOFTWARE, budgets }, sessionDeps);
  };
}

/** The session of the channel that is up, and the waiting for one that is being dialed. */
interface CurrentSession {
  session(): Session | undefined;
  use(session: Session): void;
  lost(error: ConnectError): void;
  /** @throws ConnectError naming the relay when none comes in time. */
  soon(signal: AbortSignal): Promise<Session>;
}

function createCurrentSession({ clock }: Pick<RelayConnectionDeps, "clock">): CurrentSession {
  let session: Session | undefined;
  let lastError: ConnectError | undefined;
  let arrived = Promise.withResolvers<void>();
  return {
    session: () => session,
    use(next) {
      session = next;
      lastError = undefined;
      void next.closed.then(() => {
        if (session === next) session = undefined;
      });
      arrived.resolve();
      arrived = Promise.withResolvers<void>();
    },
    lost(error) {
      lastError = error;
    },
    async soon(waiting) {
      const until = clock.monotonicNow() + WAIT_FOR_CHANNEL_MS;
      for (;;) {
        // A session that drains takes no more streams; the next one follows.
        if (session?.state === "open") return session;
        waiting.throwIfAborted();
        const leftMs = until - clock.monotonicNow();
        if (leftMs <= 0) throw noChannel(lastError);
        const late = Promise.withResolvers<void>();
        const timer = clock.setTimer(leftMs, () => late.resolve());
        await Promise.race([arrived.promise, late.promise]);
        timer.cancel();
      }
    },
  };
}

function noChannel(lastError: ConnectError | undefined): ConnectError {
  const reason = lastError === undefined ? "it is being dialed" : lastError.message;
  return new ConnectError(lastError?.code ?? "CC_RELAY_UNREACHABLE", `No channel to the relay: ${reason}`, {
    ...(lastError === undefined ? {} : { hint: lastError.hint, cause: lastError }),
  });
}

/** Gives a stream's errors its correlation id, and resets a stream that gets no answer. */
function watchAnswer(stream: MuxStream, correlationId: CorrelationId, clock: Clock): void {
  const note = (error: unknown): void => {
    if (error instanceof ConnectError) error.correlationId ??= correlationId;
  };
  stream.once(errorMonitor, note);
  stream.accepted.catch(note);
  const timer = clock.setTimer(ACCEPT_TIMEOUT_MS, () => {
    stream.reset("CC_TIMEOUT", "Neither relay nor agent answered in time");
  });
  stream.accepted.then(
    () => timer.cancel(),
    () => timer.cancel(),
  );
}
