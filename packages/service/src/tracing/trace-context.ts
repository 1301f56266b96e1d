/** Where a span belongs, as W3C's `traceparent` says it. */
export interface TraceContext {
  /** 32 hex digits. */
  readonly traceId: string;
  /** Of the span that asked, 16 hex digits; absent for the first one. */
  readonly parentId?: string | undefined;
}

const TRACEPARENT = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}$/;

/**
 * The trace of a stream. Without a `traceparent` its id is the correlation id, which every hop knows and logs, so that
 * spans of hops that say nothing to each other still make one trace.
 */
export function traceContextOf(traceparent: string | undefined, correlationId: string): TraceContext {
  const [, traceId, parentId] = TRACEPARENT.exec(traceparent ?? "") ?? [];
  return traceId === undefined ? { traceId: correlationId.padStart(32, "0") } : { traceId, parentId };
}

/** The `traceparent` for the next hop. */
export function traceparentOf(traceId: string, spanId: string): string {
  return `00-${traceId}-${spanId}-01`;
}
