import type { ConnectError, StreamOrigin } from "@cluster-connect/protocol";
import type { Logger, Tracer } from "@cluster-connect/service";
import { describeRequest, type RequestInfo } from "./info.ts";
import type { ProxyMetrics } from "./metrics.ts";
import type { RequestRecord } from "./record.ts";
import { beginRequestSpan, endRequestSpan } from "./span.ts";

export interface RequestLogDeps {
  readonly log: Logger;
  readonly metrics: ProxyMetrics;
  readonly now: () => number;
  readonly newAuditId: () => string;
  readonly tracer?: Tracer | undefined;
}

/** Known facts of a request that got no further than the parser. */
export interface RefusedRequest {
  readonly error: ConnectError;
  readonly status: number;
  readonly request?: { readonly method?: string | undefined; readonly url?: string | undefined };
}

const UNREADABLE: RequestInfo = { verb: "unknown", path: "", long: false, watch: false };
/** Longest path that is written down; the apiserver takes some of a megabyte. */
const MAX_PATH_CHARACTERS = 1_024;

/** Opens and closes the records of requests. */
export interface RequestLog {
  begin(origin: StreamOrigin, info: RequestInfo): RequestRecord;
  /** Writes the line; to be called once. */
  end(record: RequestRecord): void;
  /** Writes the line of a request that never began: its head could not be read, or there are too many. */
  refused(origin: StreamOrigin, refusal: RefusedRequest): void;
}

export function createRequestLog(deps: RequestLogDeps): RequestLog {
  const begin = (origin: StreamOrigin, info: RequestInfo): RequestRecord => ({
    auditId: deps.newAuditId(),
    startedAt: deps.now(),
    origin,
    info,
    span: beginRequestSpan(deps.tracer, { origin, info }),
    allowed: false,
    bytes: 0,
  });

  function end(record: RequestRecord): void {
    const ms = Math.round(deps.now() - record.startedAt);
    deps.metrics.request(record, ms);
    if (record.span !== undefined) endRequestSpan(record.span, record);
    deps.log.info({ event: "request", ...lineOf(record), ms }, "request");
  }

  return {
    begin,
    end,
    refused(origin, { error, status, request }) {
      const info = request === undefined ? UNREADABLE : describeRequest(request.method ?? "", request.url ?? "");
      end(Object.assign(begin(origin, info), { code: error.code, reason: error.message, status }));
    },
  };
}

function lineOf(record: RequestRecord): Readonly<Record<string, unknown>> {
  const { info, origin, principal } = record;
  const { long: _long, watch: _watch, path, ...about } = info;
  return {
    auditId: record.auditId,
    correlationId: origin.correlationId,
    sessionId: origin.sessionId,
    address: origin.address,
    username: principal?.username,
    issuer: principal?.issuer,
    relayUsername: origin.username,
    actingAs: record.actingAs,
    path: path.slice(0, MAX_PATH_CHARACTERS),
    ...about,
    decision: record.allowed ? "allowed" : "denied",
    code: record.code,
    reason: record.reason,
    status: record.status,
    bytes: record.bytes,
  };
}
