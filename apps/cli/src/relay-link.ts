import { randomBytes } from "node:crypto";
import { errorMonitor } from "node:events";
import {
  type Clock,
  createStreamOpener,
  dialSession,
  type MuxStream,
  type Session,
  SYSTEM_STREAM_OPENER_DEPS,
  supervise,
  watchWake,
} from "@cluster-connect/framing";
import { dialWebSocket, proxyFor } from "@cluster-connect/framing/ws";
import {
  type ClusterId,
  ConnectError,
  type InstanceId,
  parseCorrelationId,
  parseInstanceId,
  UPSTREAM_KUBERNETES,
} from "@cluster-connect/protocol";
import type { Environment } from "./deps.ts";
import { isLoopback } from "./relay-address.ts";
import { openStreamTraces } from "./stream-traces.ts";
import type { CallerTokens } from "./tokens/caller-tokens.ts";
import { SOFTWARE } from "./version.ts";

/** What happens to the channel, for the screen. */
export type LinkEvent =
  | { readonly kind: "connected"; readonly again: boolean }
  /** It was lost, or could not be dialed again; streams are kept for a while and go on when it is back. */
  | { readonly kind: "lost"; readonly error: ConnectError; readonly attempt: number; readonly streams: number }
  /** The agent's replica that holds streams of the cluster is not connected; they wait for it for so long at most. */
  | { readonly kind: "missing"; readonly cluster: ClusterId; readonly graceMs: number }
  /** It is back, and streams of the cluster go on. */
  | { readonly kind: "found"; readonly cluster: ClusterId }
  /** The collector that the environment names does not take spans; they are let go. */
  | { readonly kind: "untraced"; readonly host: string };

export interface RelayLinkOptions {
  readonly relay: URL;
  /** Ends the link and all its streams. */
  readonly signal: AbortSignal;
  readonly onEvent?: (event: LinkEvent) => void;
}

export interface RelayLinkDeps {
  readonly tokens: CallerTokens;
  readonly clock: Clock;
  readonly random: () => number;
  readonly env: Environment;
  /** Wall clock, milliseconds since 1970. */
  readonly now: () => number;
  readonly fetch: typeof fetch;
}

export interface LinkOpenOptions {
  readonly signal: AbortSignal;
  /** Where the agent takes the stream; the kube-apiserver unless told otherwise. */
  readonly upstream?: string;
}

/** One supervised channel to a relay that all local connections share. */
export interface RelayLink {
  /** Resolves once the channel is up for the first time; rejects with why it cannot be. */
  readonly ready: Promise<void>;
  /** Round trip to the relay, when it was measured. */
  readonly rttMs: number | undefined;
  /**
   * Opens a stream to a cluster. Without a channel it waits for one, briefly.
   *
   * @throws ConnectError naming the relay when the channel does not come back in time.
   */
  open(cluster: ClusterId, options: LinkOpenOptions): Promise<MuxStream>;
  /** Resolves when the link has ended; never rejects. */
  readonly closed: Promise<void>;
}

/** How long a local connection waits for a channel that is being dialed again. */
const WAIT_FOR_CHANNEL_MS = 1_500;
/** How long the way through relay and agent may take to answer an OPEN. */
const ACCEPT_TIMEOUT_MS = 15_000;

/** After a sleep or a new network the way should be back within seconds. */
const BACKOFF = { baseDelayMs: 300, maxDelayMs: 5_000 } as const;

const INSTANCE: InstanceId = parseInstanceId(randomBytes(12).toString("base64url"));

/** Dials a relay and keeps the channel up; each dial uses a token that is good now. */
export function connectRelay(options: RelayLinkOptions, deps: RelayLinkDeps): RelayLink {
  const { relay, signal } = options;
  const url = new URL("/v1/connect", relay);
  const ready = Promise.withResolvers<void>();
  ready.promise.catch(() => {});
  const missing = new Map<MuxStream, ClusterId>();
  const isMissing = (cluster: ClusterId): boolean => [...missing.values()].includes(cluster);
  const opener = createStreamOpener(
    {
      onMissing(stream, { cluster }) {
        const isNews = !isMissing(cluster);
        missing.set(stream, cluster);
        void stream.done.then(() => missing.delete(stream));
        const graceMs = stream.answer?.graceMs ?? 0;
        if (isNews) options.onEvent?.({ kind: "missing", cluster, graceMs });
      },
      onResumed(stream) {
        const cluster = missing.get(stream);
        missing.delete(stream);
        if (cluster !== undefined && !isMissing(cluster)) options.onEvent?.({ kind: "found", cluster });
      },
    },
    { ...SYSTEM_STREAM_OPENER_DEPS, clock: deps.clock, random: deps.random },
  );
  const traces = openStreamTraces({ onFailure: (host) => options.onEvent?.({ kind: "untraced", host }) }, deps);
  let session: Session | undefined;
  let wasReady = false;
  let attempt = 0;
  let lastError: ConnectError | undefined;
  let arrived = Promise.withResolvers<void>();

  async function dial(dialSignal: AbortSignal): Promise<Session> {
    const { token } = await deps.tokens.token("relay", { signal: dialSignal });
    const headers = { authorization: `Bearer ${token}`, "user-agent": SOFTWARE };
    const proxy = isLoopback(relay) ? undefined : proxyFor(url, deps.env);
    const channel = await dialWebSocket(url, { signal: dialSignal, headers, proxy });
    return dialSession(channel, { role: "cli", instanceId: INSTANCE, software: SOFTWARE });
  }

  function onReady(next: Session): void {
    session = next;
    opener.use(next);
    void next.closed.then(() => {
      if (session === next) session = undefined;
    });
    options.onEvent?.({ kind: "connected", again: wasReady });
    wasReady = true;
    attempt = 0;
    lastError = undefined;
    ready.resolve();
    arrived.resolve();
    arrived = Promise.withResolvers<void>();
  }

  // Before the channel closes: without it, the agent would keep the streams for a caller who comes back.
  signal.addEventListener("abort", opener.close, { once: true });
  const closed = supervise(
    dial,
    {
      signal,
      backoff: BACKOFF,
      onReady,
      onEnd: (error) => {
        lastError = error;
        attempt += 1;
        options.onEvent?.({ kind: "lost", error, attempt, streams: opener.counters.streams });
      },
      // Later, a person may log in again in another terminal: worth trying. At the start they are told at once.
      retry: () => wasReady,
    },
    { clock: deps.clock, random: deps.random },
  ).catch((error: unknown) => {
    ready.reject(error);
    opener.close();
    return traces?.close();
  });

  // A channel that died in the machine's sleep shows it only when it is asked.
  watchWake({ signal }, () => session?.probe());

  async function sessionSoon(waiting: AbortSignal): Promise<Session> {
    const until = deps.clock.now() + WAIT_FOR_CHANNEL_MS;
    for (;;) {
      // A session that drains takes no more streams; the next one is on its way.
      if (session?.state === "open") return session;
      waiting.throwIfAborted();
      const leftMs = until - deps.clock.now();
      if (leftMs <= 0) throw noChannel();
      const late = Promise.withResolvers<void>();
      const timer = deps.clock.setTimer(leftMs, () => late.resolve());
      await Promise.race([arrived.promise, late.promise]);
      timer.cancel();
    }
  }

  function noChannel(): ConnectError {
    const reason = lastError === undefined ? "it is being dialed" : lastError.message;
    return new ConnectError(lastError?.code ?? "CC_RELAY_UNREACHABLE", `No channel to the relay: ${reason}`, {
      ...(lastError === undefined ? {} : { hint: lastError.hint, cause: lastError }),
    });
  }

  return {
    ready: ready.promise,
    closed,
    get rttMs() {
      return session?.counters.rttMs;
    },
    async open(cluster, { signal: streamSignal, upstream = UPSTREAM_KUBERNETES }) {
      const correlationId = parseCorrelationId(randomBytes(16).toString("hex"));
      const asked = { cluster, upstream, correlationId };
      const openNow = async (more: { readonly traceparent?: string } = {}): Promise<MuxStream> => {
        await sessionSoon(streamSignal);
        // What goes out before the answer is a TLS ClientHello, which may be sent again.
        return await opener.open({ ...asked, ...more }, { signal: streamSignal, reopen: true });
      };
      const stream = await (traces === undefined ? openNow() : traces.follow(asked, openNow));
      const note = (error: unknown): void => {
        if (error instanceof ConnectError) error.correlationId ??= correlationId;
      };
      stream.once(errorMonitor, note);
      stream.accepted.catch(note);
      const timer = deps.clock.setTimer(ACCEPT_TIMEOUT_MS, () => {
        stream.reset("CC_TIMEOUT", "Neither relay nor agent answered in time");
      });
      stream.accepted.then(
        () => timer.cancel(),
        () => timer.cancel(),
      );
      return stream;
    },
  };
}
