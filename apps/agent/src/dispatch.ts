import type { Socket } from "node:net";
import { type IncomingStream, type MuxStream, type ResumeRegistry, splice } from "@cluster-connect/framing";
import {
  type ClusterId,
  ConnectError,
  encodeProbe,
  type InstanceId,
  type Open,
  type ProbeDocument,
  toConnectError,
  UPSTREAM_KUBERNETES,
  UPSTREAM_PROBE,
} from "@cluster-connect/protocol";
import type { Logger, Span, Tracer } from "@cluster-connect/service";
import { encodeProxyHeader } from "./proxy-header.ts";
import { beginStreamSpan } from "./stream-span.ts";
import { connectUpstream } from "./upstream.ts";
import type { UpstreamAddress } from "./upstream-address.ts";

export interface DispatchOptions {
  readonly instanceId: InstanceId;
  /** The cluster that the agent is enrolled for; a stream for another one is refused. */
  readonly clusterId: ClusterId;
  readonly authProxy: UpstreamAddress;
  /** Other upstreams by name; they get the stream's bytes and nothing before them. */
  readonly upstreams: Readonly<Record<string, UpstreamAddress>>;
  /** How long a stream is kept without a channel, milliseconds; 0 for not at all. */
  readonly graceMs: number;
}

export interface DispatchDeps {
  /** Holds streams across tunnels. */
  readonly resumes: ResumeRegistry;
  readonly probe: (options: { readonly signal: AbortSignal }) => Promise<ProbeDocument>;
  readonly log: Logger;
  /** Absent where nobody collects spans. */
  readonly tracer?: Tracer | undefined;
}

/** Answers a stream that the relay opens. */
export type Dispatch = (incoming: IncomingStream) => void;

/** Takes each stream to the upstream it names; its bytes are not looked at. */
export function createDispatch(options: DispatchOptions, deps: DispatchDeps): Dispatch {
  return (incoming) => {
    serve(incoming, options, deps).catch((error: unknown) => {
      const { code, message } = toConnectError(error);
      deps.log.info({ event: "stream.refused", ...idsOf(incoming), code, reason: message }, "stream refused");
      incoming.reject(code, message);
    });
  };
}

async function serve(incoming: IncomingStream, options: DispatchOptions, deps: DispatchDeps): Promise<void> {
  const { request } = incoming;
  const { cluster } = request.kind === "open" ? request.open : request.resume;
  if (cluster !== options.clusterId) throw new ConnectError("CC_CLUSTER_UNKNOWN", `This is no agent of ${cluster}`);
  if (request.kind === "resume") {
    deps.resumes.answer(incoming, options);
    return;
  }
  if (request.open.upstream === UPSTREAM_PROBE) return await answerProbe(incoming, options, deps);
  const span = beginStreamSpan(deps.tracer, request.open);
  try {
    await serveUpstream(incoming, request.open, span, options, deps);
  } catch (error) {
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
  span: Span | undefined,
  options: DispatchOptions,
  deps: DispatchDeps,
): Promise<void> {
  const address = addressOf(open.upstream, options);
  const socket = await connectUpstream(open.upstream, address, { signal: incoming.signal });
  if (open.upstream === UPSTREAM_KUBERNETES) socket.write(headerOf(open, span));
  const stream = deps.resumes.answer(incoming, options);
  if (stream === undefined) {
    socket.destroy();
    span?.end("CC_CANCELLED");
    return;
  }
  pass(stream, socket, idsOf(incoming), span, deps.log);
}

/** Joins a stream with its upstream; on its own, so that an idle stream keeps nothing of how it began. */
function pass(
  stream: MuxStream,
  socket: Socket,
  ids: Readonly<Record<string, unknown>>,
  span: Span | undefined,
  log: Logger,
): void {
  log.debug({ event: "stream.open", ...ids }, "stream open");
  const closed = (code: string, reason: string): void => {
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
