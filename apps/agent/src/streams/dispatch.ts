import type { Socket } from "node:net";
import { type ConcurrencyLimiter, createConcurrencyLimiter, type Release } from "@cluster-connect/base";
import {
  type IncomingStream,
  type MuxStream,
  type ReadMemory,
  type ResumeRegistry,
  splice,
} from "@cluster-connect/framing";
import {
  type ClusterId,
  ConnectError,
  encodeProbe,
  encodeProxyHeader,
  type InstanceId,
  type Open,
  type ProbeDocument,
  toConnectError,
  UPSTREAM_KUBERNETES,
  UPSTREAM_PROBE,
} from "@cluster-connect/protocol";
import type { Logger, Span, Tracer } from "@cluster-connect/service";
import type { FirstByteWatch } from "./first-byte.ts";
import type { HeldShares } from "./held-shares.ts";
import { beginStreamSpan } from "./stream-span.ts";
import { connectUpstream } from "./upstream.ts";
import { type UpstreamAddress, upstreamText } from "./upstream-address.ts";

export interface DispatchOptions {
  readonly instanceId: InstanceId;
  /** Processes that were killed, and whose place this one took: their streams are over. */
  readonly follows: ReadonlySet<InstanceId>;
  /** The cluster that the agent is enrolled for; a stream for another one is refused. */
  readonly clusterId: ClusterId;
  readonly authProxy: UpstreamAddress;
  /** Other upstreams by name; they get the stream's bytes and nothing before them. */
  readonly upstreams: Readonly<Record<string, UpstreamAddress>>;
  /** How long a stream is kept without a channel, milliseconds; 0 for not at all. */
  readonly graceMs: number;
  /** Streams to upstreams that may be open at once. */
  readonly maxStreams: number;
}

export interface DispatchDeps {
  /** Holds streams across tunnels. */
  readonly resumes: ResumeRegistry;
  readonly probe: (options: { readonly signal: AbortSignal }) => Promise<ProbeDocument>;
  /** For the auth proxy, which answers a caller's first bytes by itself. */
  readonly firstByte: FirstByteWatch;
  /** For slow readers that have used up what the agent holds. */
  readonly heldShares: HeldShares;
  /** Memory that upstreams are read into. */
  readonly readMemory: ReadMemory;
  readonly log: Logger;
  /** Absent where nobody collects spans. */
  readonly tracer?: Tracer | undefined;
}

/** Answers a stream that the relay opens. */
export type Dispatch = (incoming: IncomingStream) => void;

/** Takes each stream to the upstream it names; its bytes are not looked at. */
export function createDispatch(options: DispatchOptions, deps: DispatchDeps): Dispatch {
  const places = createConcurrencyLimiter(options.maxStreams, refuseBeyond);
  return (incoming) => {
    serve(incoming, places, options, deps).catch((error: unknown) => {
      const { code, message, retryAfterMs } = toConnectError(error);
      deps.log.info({ event: "stream.refused", ...idsOf(incoming), code, reason: message }, "stream refused");
      incoming.reject(code, message, retryAfterMs);
    });
  };
}

/** Said to a caller when all places are in use: one may be free soon. */
const RETRY_AFTER_MS = 1_000;
const ALL = "";

function refuseBeyond(limit: number): ConnectError {
  const hint = "Raise limits.streams of the agent, or run another replica.";
  const options = { retryAfterMs: RETRY_AFTER_MS, hint };
  return new ConnectError("CC_LIMIT_REACHED", `This agent serves at most ${limit} streams`, options);
}

function refuseFull(): ConnectError {
  const hint = "Raise limits.bufferMebibytes of the agent and its memory, or end what is not read.";
  const options = { retryAfterMs: RETRY_AFTER_MS, hint };
  return new ConnectError(
    "CC_LIMIT_REACHED",
    "This agent holds as much as it may for readers that are slow, most of it for this caller",
    options,
  );
}

async function serve(
  incoming: IncomingStream,
  places: ConcurrencyLimiter,
  options: DispatchOptions,
  deps: DispatchDeps,
): Promise<void> {
  const { request } = incoming;
  const { cluster } = request.kind === "open" ? request.open : request.resume;
  if (cluster !== options.clusterId) throw new ConnectError("CC_CLUSTER_UNKNOWN", `This is no agent of ${cluster}`);
  if (request.kind === "resume") {
    if (options.follows.has(request.resume.instanceId)) {
      throw new ConnectError("CC_AGENT_REPLACED", "The agent that held the stream was killed");
    }
    deps.resumes.answer(incoming, options);
    return;
  }
  if (request.open.upstream === UPSTREAM_PROBE) return await answerProbe(incoming, options, deps);
  if (deps.heldShares.isFullFor(request.open.caller)) throw refuseFull();
  const release = places.take(ALL);
  const span = beginStreamSpan(deps.tracer, request.open);
  try {
    await serveUpstream(incoming, request.open, { span, release }, options, deps);
  } catch (error) {
    release();
    span?.end(toConnectError(error).code);
    throw error;
  }
}

async function answerProbe(incoming: IncomingStream, options: DispatchOptions, deps: DispatchDeps): Promise<void> {
  const document = await deps.probe({ signal: incoming.signal });
  const stream = incoming.accept({ instanceId: options.instanceId });
  stream.resume();
  stream.end(encodeProbe(document));
}

async function serveUpstream(
  incoming: IncomingStream,
  open: Open,
  { span, release }: StreamPlace,
  options: DispatchOptions,
  deps: DispatchDeps,
): Promise<void> {
  const address = addressOf(open.upstream, options);
  const socket = await connectUpstream(open.upstream, address, { signal: incoming.signal }, deps);
  const header = open.upstream === UPSTREAM_KUBERNETES ? headerOf(open, span) : undefined;
  if (header !== undefined) socket.write(header);
  const stream = deps.resumes.answer(incoming, options);
  if (stream === undefined) {
    socket.destroy();
    release();
    span?.end("CC_CANCELLED");
    return;
  }
  if (header !== undefined) {
    deps.firstByte.watch(socket, header.length, () => stream.reset("CC_UPSTREAM_UNREACHABLE", standsText(address)));
  }
  pass(stream, socket, idsOf(incoming), { span, release }, deps.log);
}

function standsText(address: UpstreamAddress): string {
  return `The auth proxy at ${upstreamText(address)} takes connections and answers nothing`;
}

/** A stream's span, and its place among those that are open. */
interface StreamPlace {
  readonly span: Span | undefined;
  readonly release: Release;
}

/** Joins a stream with its upstream; on its own, so that an idle stream keeps nothing of how it began. */
function pass(
  stream: MuxStream,
  socket: Socket,
  ids: Readonly<Record<string, unknown>>,
  { span, release }: StreamPlace,
  log: Logger,
): void {
  log.debug({ event: "stream.open", ...ids }, "stream open");
  const closed = (code: string, reason: string): void => {
    release();
    const { upBytes, downBytes } = bytesOf(stream);
    span?.end(code, { "cluster_connect.up_bytes": upBytes, "cluster_connect.down_bytes": downBytes });
    log.debug({ event: "stream.closed", ...ids, reason, upBytes, downBytes }, "stream closed");
  };
  splice(stream, socket).then(
    () => closed("ok", "finished"),
    (cause: unknown) => {
      const { code, message } = toConnectError(cause, "CC_STREAM_RESET");
      closed(code, message);
    },
  );
}

function addressOf(upstream: string, options: DispatchOptions): UpstreamAddress {
  if (upstream === UPSTREAM_KUBERNETES) return options.authProxy;
  const address = Object.hasOwn(options.upstreams, upstream) ? options.upstreams[upstream] : undefined;
  if (address !== undefined) return address;
  throw new ConnectError("CC_UPSTREAM_UNREACHABLE", "The agent is not configured for this upstream");
}

function headerOf(open: Open, span: Span | undefined): Uint8Array {
  const { caller, sessionId, correlationId } = open;
  const origin = { address: caller?.address, username: caller?.username, sessionId, correlationId };
  return encodeProxyHeader({ ...origin, traceparent: span?.traceparent ?? open.traceparent });
}

function idsOf({ request }: IncomingStream): Readonly<Record<string, unknown>> {
  if (request.kind === "resume") return { kind: "resume" };
  const { upstream, correlationId, sessionId } = request.open;
  return { kind: "open", upstream, correlationId, sessionId };
}

function bytesOf(stream: MuxStream): { readonly upBytes: number; readonly downBytes: number } {
  return { upBytes: stream.bytesTaken, downBytes: stream.bytesSent };
}
