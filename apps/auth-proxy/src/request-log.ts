import type { Principal } from "@cluster-connect/auth";
import type { ErrorCode } from "@cluster-connect/protocol";
import type { Logger, Span, Tracer } from "@cluster-connect/service";
import type { StreamOrigin } from "./proxy-header.ts";
import type { ProxyMetrics } from "./proxy-metrics.ts";
import type { RequestInfo } from "./request-info.ts";
import { beginRequestSpan, endRequestSpan } from "./request-span.ts";

/** What is known about one request when it is over; one line in the log. */
export interface RequestRecord {
  readonly auditId: string;
  readonly startedAt: number;
  readonly origin: StreamOrigin;
  readonly info: RequestInfo;
  /** Its part of the stream's trace, where spans are collected. */
  readonly span?: Span | undefined;
  /** Whether it passed every check and was sent to the apiserver. */
  allowed: boolean;
  principal?: Principal;
  /** Whom the caller acts as. */
  actingAs?: string;
  /** Our own word; absent where the apiserver gave the answer. */
  code?: ErrorCode;
  reason?: string;
  status?: number;
  bytes: number;
}

export interface RequestLogDeps {
  readonly log: Logger;
  readonly metrics: ProxyMetrics;
  readonly now: () => number;
  readonly newAuditId: () => string;
  readonly tracer?: Tracer | undefined;
}

/** Opens and closes the records of requests. */
export interface RequestLog {
  begin(origin: StreamOrigin, info: RequestInfo): RequestRecord;
  /** Writes the line; to be called once. */
  end(record: RequestRecord): void;
}

export function createRequestLog(deps: RequestLogDeps): RequestLog {
  return {
    begin: (origin, info) => ({
      auditId: deps.newAuditId(),
      startedAt: deps.now(),
      origin,
      info,
      span: beginRequestSpan(deps.tracer, { origin, info }),
      allowed: false,
      bytes: 0,
    }),
    end(record) {
      const ms = Math.round(deps.now() - record.startedAt);
      deps.metrics.request(record, ms);
      if (record.span !== undefined) endRequestSpan(record.span, record);
      deps.log.info({ event: "request", ...lineOf(record), ms }, "request");
    },
  };
}

function lineOf(record: RequestRecord): Readonly<Record<string, unknown>> {
  const { info, origin, principal } = record;
  const { long: _long, watch: _watch, ...about } = info;
  return {
    auditId: record.auditId,
    correlationId: origin.correlationId,
    sessionId: origin.sessionId,
    address: origin.address,
    username: principal?.username,
    issuer: principal?.issuer,
    relayUsername: origin.relayUsername,
    actingAs: record.actingAs,
    ...about,
    decision: record.allowed ? "allowed" : "denied",
    code: record.code,
    reason: record.reason,
    status: record.status,
    bytes: record.bytes,
  };
}
