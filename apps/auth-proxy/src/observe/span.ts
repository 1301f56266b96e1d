import { type Span, type Tracer, traceContextOf } from "@cluster-connect/service";
import type { RequestRecord } from "./record.ts";

const CORRELATION_ID = /^[0-9a-f]{16,32}$/;
/** As Kubernetes names resources; any other text there is a caller's own. */
const RESOURCE = /^[a-z][a-z0-9.-]{0,62}$/;
const FIRST_SERVER_ERROR = 500;

/** Begins the span of a request in the trace of its stream; one whose stream is not known belongs to no trace. */
export function beginRequestSpan(
  tracer: Tracer | undefined,
  { origin, info }: Pick<RequestRecord, "origin" | "info">,
): Span | undefined {
  const { correlationId, traceparent } = origin;
  if (tracer === undefined || correlationId === undefined || !CORRELATION_ID.test(correlationId)) return undefined;
  const resource = info.resource !== undefined && RESOURCE.test(info.resource) ? info.resource : "none";
  return tracer.begin("request", traceContextOf(traceparent, correlationId), {
    "cluster_connect.correlation_id": correlationId,
    "cluster_connect.verb": info.verb,
    "cluster_connect.resource": resource,
  });
}

/** Ends it with our own word, else with the apiserver's answer. */
export function endRequestSpan(span: Span, { status = 0, code }: Pick<RequestRecord, "status" | "code">): void {
  const result = code ?? (status >= FIRST_SERVER_ERROR ? `status ${status}` : "ok");
  span.end(result, { "http.response.status_code": status });
}
