import { randomBytes } from "node:crypto";
import { SYSTEM_CLOCK, type Timer } from "@cluster-connect/base";
import type { MuxStream } from "@cluster-connect/framing";
import { type ClusterId, type CorrelationId, toConnectError } from "@cluster-connect/protocol";
import type { Span, Tracer } from "@cluster-connect/service/tracing";
import type { CliDeps } from "../deps.ts";
import { VERSION } from "../version.ts";
import { collectorUrl } from "./collector-url.ts";

/** The stream that a span is about. */
export interface TracedStream {
  readonly cluster: ClusterId;
  readonly upstream: string;
  readonly correlationId: CorrelationId;
}

/** Spans of the streams that this process opens: the first of each trace. */
export interface StreamTraces {
  /** Opens a stream under a span, which ends when the stream does, or with why it could not be opened. */
  follow(
    about: TracedStream,
    open: (context: { readonly traceparent: string }) => Promise<MuxStream>,
  ): Promise<MuxStream>;
  /** Sends what is left, once the streams have ended; never rejects. */
  close(): Promise<void>;
}

export interface StreamTracesOptions {
  /** The collector does not take spans; said once until it does. */
  readonly onFailure: (host: string) => void;
}

/** The end of a command waits no longer for a collector that is silent. */
const TIMEOUT_MS = 2_000;

/** @returns undefined where the environment names no collector: then nothing is loaded, kept or sent. */
export function openStreamTraces(
  options: StreamTracesOptions,
  deps: Pick<CliDeps, "env" | "now" | "fetch">,
): StreamTraces | undefined {
  const url = collectorUrl(deps.env);
  if (url === undefined) return undefined;
  const started = startTracer(url, options, deps);
  const open = new Set<Promise<void>>();

  function endWith(span: Span, stream: MuxStream): void {
    const ended = stream.done.then((end) => {
      const bytes = { "cluster_connect.up_bytes": stream.bytesSent, "cluster_connect.down_bytes": stream.bytesTaken };
      span.end(end.kind === "finished" ? "ok" : end.error.code, bytes);
      open.delete(ended);
    });
    open.add(ended);
  }

  return {
    async follow({ cluster, upstream, correlationId }, openStream) {
      const { tracer, contextOf } = await started;
      const span = tracer.begin("stream", contextOf(undefined, correlationId), {
        "cluster_connect.cluster": cluster,
        "cluster_connect.upstream": upstream,
        "cluster_connect.correlation_id": correlationId,
      });
      try {
        const stream = await openStream(span);
        endWith(span, stream);
        return stream;
      } catch (error) {
        span.end(toConnectError(error).code);
        throw error;
      }
    },
    async close() {
      await Promise.all(open);
      await (await started).stop();
    },
  };
}

interface StartedTracer {
  readonly tracer: Tracer;
  readonly contextOf: typeof import("@cluster-connect/service/tracing").traceContextOf;
  /** Resolves when everything was sent or let go. */
  stop(): Promise<void>;
}

/** A timer that keeps no process alive: a command that is done ends. */
function setUnheldTimer(delayMs: number, fire: () => void): Timer {
  const timer = setTimeout(fire, delayMs).unref();
  return { cancel: () => clearTimeout(timer) };
}

async function startTracer(
  url: URL,
  { onFailure }: StreamTracesOptions,
  { now, fetch }: Pick<CliDeps, "now" | "fetch">,
): Promise<StartedTracer> {
  const { createTracer, traceContextOf } = await import("@cluster-connect/service/tracing");
  const service = { "service.name": "cluster-connect-cli", "service.version": VERSION };
  const tracer = createTracer(
    { endpoint: url.href, service, kind: "client", timeoutMs: TIMEOUT_MS },
    {
      fetch,
      clock: { ...SYSTEM_CLOCK, now, setTimer: setUnheldTimer },
      spanId: () => randomBytes(8).toString("hex"),
      log: { warn: () => onFailure(url.host) },
    },
  );
  const end = new AbortController();
  const running = tracer.run({ signal: end.signal });
  return {
    tracer,
    contextOf: traceContextOf,
    async stop() {
      end.abort();
      await running;
    },
  };
}
