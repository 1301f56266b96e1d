import { randomBytes } from "node:crypto";
import type { Clock } from "@cluster-connect/base";
import { z } from "zod";
import type { Logger } from "../observe/logger.ts";
import type { Metrics } from "../observe/metrics.ts";
import { createTracer, type Tracer } from "./tracer.ts";

/** Where a daemon's spans go. */
export interface TracingSettings {
  /** An OpenTelemetry collector that takes OTLP over HTTP; `/v1/traces` is added when it has no path of its own. */
  readonly endpoint: string;
}

export const TRACING_SCHEMA: z.ZodType<TracingSettings> = z.strictObject({
  endpoint: z
    .url({ protocol: /^https?$/, abort: true })
    .refine((text) => new URL(text).username === "" && new URL(text).password === "", "expected no credentials"),
});

/** @returns undefined without settings: then nothing is kept and nothing is sent. */
export function openTracer(
  settings: TracingSettings | undefined,
  service: { readonly name: "relay" | "agent" | "auth-proxy"; readonly software: string },
  deps: { readonly clock: Clock; readonly log: Logger; readonly metrics: Metrics },
): Tracer | undefined {
  if (settings === undefined) return undefined;
  const about = { "service.name": `cluster-connect-${service.name}`, "service.version": service.software };
  const spanId = (): string => randomBytes(8).toString("hex");
  const tracer = createTracer({ endpoint: settings.endpoint, service: about }, { ...deps, fetch, spanId });
  deps.metrics.observe(
    "traces_dropped",
    "Spans that were let go: too many waited, or the collector did not take them.",
    () => tracer.dropped,
  );
  return tracer;
}
