import type { StreamRequest } from "@cluster-connect/framing";
import { type Span, type Tracer, traceContextOf } from "@cluster-connect/service";

/** Begins the span of a new stream; a stream that goes on has one already. */
export function beginStreamSpan(tracer: Tracer | undefined, request: StreamRequest, relayId: string): Span | undefined {
  if (tracer === undefined || request.kind !== "open") return undefined;
  const { cluster, upstream, correlationId, traceparent } = request.open;
  return tracer.begin("stream", traceContextOf(traceparent, correlationId), {
    "cluster_connect.cluster": cluster,
    "cluster_connect.upstream": upstream,
    "cluster_connect.correlation_id": correlationId,
    "cluster_connect.relay": relayId,
  });
}

/** The request as the next hop gets it: a child of the span. */
export function withSpan(request: StreamRequest, span: Span | undefined): StreamRequest {
  if (span === undefined || request.kind !== "open") return request;
  return { kind: "open", open: { ...request.open, traceparent: span.traceparent } };
}
