import { randomBytes } from "node:crypto";
import type { StreamRequest } from "@cluster-connect/framing";
import type { Clock, Logger, Metrics } from "@cluster-connect/service";
import { traceContextOf } from "./trace-context.ts";
import { createTracer, type Span, type Tracer } from "./tracer.ts";

/** The tracer of the settings; undefined without a collector. */
export function openTracer(
  settings: { readonly tracing?: { readonly endpoint: string } | undefined },
  deps: { readonly clock: Clock; readonly log: Logger; readonly metrics: Metrics; readonly software: string },
): Tracer | undefined {
  if (settings.tracing === undefined) return undefined;
  const service = { "service.name": "cluster-connect-relay", "service.version": deps.software };
  const spanId = (): string => randomBytes(8).toString("hex");
  const tracer = createTracer({ endpoint: settings.tracing.endpoint, service }, { ...deps, fetch, spanId });
  deps.metrics.observe("traces_dropped", "Spans that were let go because too many waited.", () => tracer.dropped);
  return tracer;
}

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
