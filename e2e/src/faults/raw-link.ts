import { randomBytes } from "node:crypto";
import { SYSTEM_CLOCK } from "@cluster-connect/base";
import {
  createStreamOpener,
  dialSession,
  type MuxStream,
  type ResumeCounters,
  type Session,
  supervise,
} from "@cluster-connect/framing";
import { dialWebSocket } from "@cluster-connect/framing/ws";
import {
  type ErrorCode,
  parseClusterId,
  parseCorrelationId,
  parseInstanceId,
  toConnectError,
} from "@cluster-connect/protocol";

/** A caller's channel to a relay, as the CLI has one, for streams to any upstream. */
export interface RawLinkOptions {
  readonly relay: string;
  readonly caPem: string;
  readonly cluster: string;
  readonly token: () => Promise<string>;
}

/** An event of the channel, and its time in milliseconds since 1970. */
export interface RawLinkEvent {
  /** `missing`: the agent's replica that holds a stream is not connected. */
  readonly kind: "connected" | "lost" | "missing";
  readonly at: number;
  readonly code?: ErrorCode;
}

export interface RawLink {
  readonly events: readonly RawLinkEvent[];
  readonly counters: ResumeCounters;
  /** @param options `reopen` as the CLI has it: what was sent before the answer may be sent again. */
  open(upstream: string, options: { readonly signal: AbortSignal; readonly reopen?: boolean }): Promise<MuxStream>;
  close(): Promise<void>;
}

/** Same as the CLI's. */
const BACKOFF = { baseDelayMs: 250, maxDelayMs: 10_000 } as const;

/** Dials the relay and keeps the channel up. */
export function startRawLink(options: RawLinkOptions): RawLink {
  const stop = new AbortController();
  const events: RawLinkEvent[] = [];
  const opener = createStreamOpener({ onMissing: () => events.push({ kind: "missing", at: Date.now() }) });
  const instanceId = parseInstanceId(randomBytes(12).toString("base64url"));
  const dial = async (signal: AbortSignal): Promise<Session> => {
    const headers = { authorization: `Bearer ${await options.token()}` };
    const tls = { ca: options.caPem };
    const channel = await dialWebSocket(new URL("/v1/connect", options.relay), { signal, headers, tls });
    return dialSession(channel, { role: "cli", instanceId, software: "faults/0" });
  };
  const ended = supervise(
    dial,
    {
      signal: stop.signal,
      backoff: BACKOFF,
      atStake: () => opener.counters.suspended > 0,
      onReady: (session) => {
        opener.use(session);
        events.push({ kind: "connected", at: Date.now() });
      },
      onEnd: ({ code }) => events.push({ kind: "lost", at: Date.now(), code }),
    },
    { clock: SYSTEM_CLOCK, random: Math.random },
  ).catch(toConnectError);
  return {
    events,
    get counters() {
      return opener.counters;
    },
    open: (upstream, openOptions) =>
      opener.open(
        {
          cluster: parseClusterId(options.cluster),
          upstream,
          correlationId: parseCorrelationId(randomBytes(16).toString("hex")),
        },
        openOptions,
      ),
    async close() {
      opener.close();
      stop.abort();
      await ended;
    },
  };
}
