import type { Open } from "@cluster-connect/protocol";
import { type Span, type Tracer, traceContextOf } from "@cluster-connect/service";

/** Begins the span of a stream to an upstream, below the relay's where that has one. */
export function beginStreamSpan(tracer: Tracer | undefined, open: Open): Span | undefined {
  const { cluster, upstream, correlationId, traceparent } = open;
  return tracer?.begin("stream", traceContextOf(traceparent, correlationId), {
    "cluster_connect.cluster": cluster,
    "cluster_connect.upstream": upstream,
    "cluster_connect.correlation_id": correlationId,
  });
}
