import type { Metrics } from "@cluster-connect/service";
import type { RequestRecord } from "./record.ts";

/** The auth proxy's own numbers. */
export interface ProxyMetrics {
  request(record: RequestRecord, ms: number): void;
  /** A stream that ended before it carried a request. */
  streamRefused(reason: "limit" | "header" | "handshake"): void;
  /** A reading of the issuers' file. */
  configuration(result: "reloaded" | "kept"): void;
}

const BUCKETS_SECONDS = [0.005, 0.025, 0.1, 0.25, 1, 5, 30, 120, 600];

export function createProxyMetrics(metrics: Metrics): ProxyMetrics {
  const requests = metrics.counter("requests_total", "Requests by verb, status and our own error code.", [
    "verb",
    "status",
    "code",
  ]);
  const duration = metrics.histogram(
    "request_seconds",
    "Time from head to end, long requests left out.",
    BUCKETS_SECONDS,
  );
  const bytes = metrics.counter("response_bytes_total", "Bytes of answers sent to callers.");
  const refused = metrics.counter("streams_refused_total", "Streams that ended before a request.", ["reason"]);
  const configuration = metrics.counter("authentication_config_total", "Readings of a changed issuers' file.", [
    "result",
  ]);
  const stale = metrics.gauge("authentication_config_stale", "1 while a changed issuers' file cannot take over.");
  stale.set(0);
  return {
    request({ info, status, code, bytes: sent }, ms) {
      requests.inc({ verb: info.verb, status: status ?? 0, code: code ?? "" });
      bytes.inc(sent);
      if (!info.long) duration.observe(ms / 1_000);
    },
    streamRefused: (reason) => refused.inc({ reason }),
    configuration(result) {
      configuration.inc({ result });
      stale.set(result === "kept" ? 1 : 0);
    },
  };
}
