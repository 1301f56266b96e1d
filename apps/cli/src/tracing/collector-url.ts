import type { Environment } from "../deps.ts";

const PATH = "v1/traces";

/**
 * Where the environment wants spans to go, by OpenTelemetry's own variables.
 *
 * @returns undefined where it names no collector, wants none, or wants a protocol other than OTLP over HTTP. Such a
 *   setting is for other programs, and no reason to fail.
 */
export function collectorUrl(env: Environment): URL | undefined {
  if (env["OTEL_SDK_DISABLED"]?.toLowerCase() === "true" || env["OTEL_TRACES_EXPORTER"] === "none") return undefined;
  const protocol = env["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] || env["OTEL_EXPORTER_OTLP_PROTOCOL"];
  if (protocol !== undefined && !protocol.startsWith("http/")) return undefined;
  const own = env["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
  const url = own ? parseCollectorUrl(own) : parseCollectorUrl(env["OTEL_EXPORTER_OTLP_ENDPOINT"] ?? "");
  if (url === undefined || own) return url;
  url.pathname = url.pathname.endsWith("/") ? `${url.pathname}${PATH}` : `${url.pathname}/${PATH}`;
  return url;
}

function parseCollectorUrl(text: string): URL | undefined {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol)) return undefined;
  // `fetch` takes no address with credentials in it.
  return url.username === "" && url.password === "" ? url : undefined;
}
