import { expect, test } from "vitest";
import { collectorUrl } from "../../src/tracing/collector-url.ts";

const BASE = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";

test.each([
  [{ [BASE]: "http://collector.test:4318" }, "http://collector.test:4318/v1/traces"],
  [{ [BASE]: "https://collector.test/otlp/" }, "https://collector.test/otlp/v1/traces"],
  [{ [BASE]: "http://other.test", [TRACES]: "http://collector.test/spans" }, "http://collector.test/spans"],
  [{ [BASE]: "http://collector.test", OTEL_EXPORTER_OTLP_PROTOCOL: "http/json" }, "http://collector.test/v1/traces"],
])("%j sends spans to %s", (env, url) => {
  expect(collectorUrl(env)?.href).toBe(url);
});

test.each([
  {},
  { [BASE]: "" },
  { [BASE]: "collector" },
  { [BASE]: "ftp://collector.test" },
  { [BASE]: "http://jane:secret@collector.test" },
  { [BASE]: "http://collector.test:4317", OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" },
  { [BASE]: "http://collector.test", OTEL_TRACES_EXPORTER: "none" },
  { [BASE]: "http://collector.test", OTEL_SDK_DISABLED: "true" },
])("%j sends none", (env) => {
  expect(collectorUrl(env)).toBeUndefined();
});
