import { type Clock, repeat } from "@cluster-connect/base";
import { errorFields } from "../observe/failure.ts";
import type { Logger } from "../observe/logger.ts";
import { type TraceContext, traceparentOf } from "./trace-context.ts";

/** A span that has begun. */
export interface Span {
  /** For the next hop. */
  readonly traceparent: string;
  /** Ends it, once. @param code `ok` or an error code. */
  end(code: string, attributes?: Attributes): void;
}

export type Attributes = Readonly<Record<string, string | number>>;

/**
 * Sends spans to an OpenTelemetry collector over OTLP/HTTP, in JSON. A span that a collector does not take now waits for the next
 * time, as far as there is room; it may get spans twice where its answer was lost.
 */
export interface Tracer {
  begin(name: string, context: TraceContext, attributes: Attributes): Span;
  /** Spans that were let go. */
  readonly dropped: number;
  run(options: { readonly intervalMs?: number; readonly signal: AbortSignal }): Promise<void>;
}

export interface TracerOptions {
  /** The collector's address; `/v1/traces` is added when it has no path of its own. */
  readonly endpoint: string;
  readonly service: Attributes;
  /** The kind of the spans: requests that come in, by default, or that go out. */
  readonly kind?: "server" | "client";
  /** Longest a collector may take for a batch. */
  readonly timeoutMs?: number;
}

export interface TracerDeps {
  readonly fetch: typeof fetch;
  readonly clock: Clock;
  /** 16 hex digits. */
  readonly spanId: () => string;
  readonly log: Pick<Logger, "warn">;
}

const INTERVAL_MS = 5_000;
const TIMEOUT_MS = 5_000;
const MAX_SPANS = 5_000;
const BATCH_SIZE = 500;
const KINDS = { server: 2, client: 3 } as const;
const [STATUS_OK, STATUS_ERROR] = [1, 2];
/** OTLP 1.x, "Failures": any other answer would be the same the next time. */
const STATUSES_TO_TRY_AGAIN: ReadonlySet<number> = new Set([429, 502, 503, 504]);

export function createTracer(options: TracerOptions, deps: TracerDeps): Tracer {
  const url = tracesUrl(options.endpoint);
  const { kind = "server", timeoutMs = TIMEOUT_MS } = options;
  const spans: unknown[] = [];
  let dropped = 0;
  let failing = false;

  function tell(problem: unknown): void {
    if (!failing) deps.log.warn({ event: "traces.failed", ...errorFields(problem) }, "traces could not be sent");
    failing = true;
  }

  /** @returns what went wrong, with the spans still waiting. */
  async function send(): Promise<unknown> {
    try {
      while (spans.length > 0) {
        const batch = spans.slice(0, BATCH_SIZE);
        const response = await deps.fetch(url, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify(documentOf(options.service, batch)),
          redirect: "error",
          signal: AbortSignal.timeout(timeoutMs),
        });
        await response.body?.cancel();
        const refusal = response.ok ? undefined : new Error(`the collector answered with status ${response.status}`);
        if (STATUSES_TO_TRY_AGAIN.has(response.status)) throw refusal;
        spans.splice(0, batch.length);
        if (refusal === undefined) failing = false;
        else {
          dropped += batch.length;
          tell(refusal);
        }
      }
      return undefined;
    } catch (error) {
      tell(error);
      return error;
    }
  }

  /** Once more where only a connection was lost, then what is left is let go: traces are a help, not a record. */
  async function sendLast(): Promise<void> {
    const problem = await send();
    if (problem === undefined) return;
    if (!isTimeout(problem)) await send();
    dropped += spans.splice(0).length;
  }

  return {
    get dropped() {
      return dropped;
    },
    begin(name, { traceId, parentId }, attributes) {
      const spanId = deps.spanId();
      const startedAt = deps.clock.now();
      let ended = false;
      return {
        traceparent: traceparentOf(traceId, spanId),
        end(code, more = {}) {
          if (ended) return;
          ended = true;
          if (spans.length >= MAX_SPANS) {
            dropped += 1;
            return;
          }
          spans.push({
            traceId,
            spanId,
            name,
            kind: KINDS[kind],
            ...(parentId === undefined ? {} : { parentSpanId: parentId }),
            startTimeUnixNano: nanosOf(startedAt),
            endTimeUnixNano: nanosOf(deps.clock.now()),
            attributes: attributesOf({ ...attributes, ...more }),
            status: code === "ok" ? { code: STATUS_OK } : { code: STATUS_ERROR, message: code },
          });
        },
      };
    },
    async run({ intervalMs = INTERVAL_MS, signal }) {
      await repeat(async () => void (await send()), { intervalMs, signal }, deps);
      await sendLast();
    },
  };
}

function tracesUrl(endpoint: string): URL {
  const url = new URL(endpoint);
  return url.pathname === "/" ? new URL("/v1/traces", url) : url;
}

function documentOf(service: Attributes, spans: readonly unknown[]): unknown {
  const scope = { name: "cluster-connect" };
  return { resourceSpans: [{ resource: { attributes: attributesOf(service) }, scopeSpans: [{ scope, spans }] }] };
}

function attributesOf(attributes: Attributes): readonly unknown[] {
  return Object.entries(attributes).map(([key, value]) => ({
    key,
    value: typeof value === "string" ? { stringValue: value } : { doubleValue: value },
  }));
}

function nanosOf(ms: number): string {
  return String(BigInt(Math.round(ms * 1_000)) * 1_000n);
}

const isTimeout = (error: unknown): boolean => error instanceof Error && error.name === "TimeoutError";
