import type { Metrics } from "@cluster-connect/service";
import type { Certificates } from "../certificates/certificates.ts";
import type { Front } from "../entry/front.ts";
import type { RequestQuotas } from "../limits/quotas.ts";

/** The parts whose numbers are asked for when they are read. */
export interface ObservedParts {
  readonly front: Pick<Front, "open" | "http2Sessions" | "unanswered">;
  /** HTTP/2 connections to the apiserver. */
  readonly upstreamSessions: () => number;
  readonly quotas: RequestQuotas;
  readonly certificates: Pick<Certificates, "authority" | "serving">;
}

/** Registers the gauges that are read when Prometheus asks. */
export function observeNumbers(
  metrics: Metrics,
  { front, upstreamSessions, quotas, certificates }: ObservedParts,
): void {
  const seconds = (date: Date): number => Math.floor(date.getTime() / 1_000);
  metrics.observe("streams", "Streams from agents that are open.", front.open);
  metrics.observe("http2_sessions", "Streams from agents that carry HTTP/2.", front.http2Sessions);
  metrics.observe("upstream_http2_sessions", "HTTP/2 connections to the kube-apiserver.", upstreamSessions);
  metrics.observe("requests_in_flight", "Requests under way.", quotas.short.size);
  metrics.observe("long_requests_in_flight", "Watches, logs and proxied streams under way.", quotas.long.size);
  metrics.observe("unknown_in_flight", "Requests whose token is being checked.", quotas.unknown.size);
  metrics.observe("places", "Places that requests and upgrades hold, of every kind.", () =>
    [quotas.short, quotas.long, quotas.upgrade].reduce((sum, quota) => sum + quota.size(), 0),
  );
  metrics.observe("unanswered", "Requests and upgrades whose stream is open and that are not over.", front.unanswered);
  metrics.observe("upgrades_in_flight", "Upgraded streams under way.", quotas.upgrade.size);
  metrics.observe("certificate_not_after_seconds", "End of the serving certificate, seconds since 1970.", () =>
    seconds(certificates.serving.notAfter()),
  );
  metrics.observe("authority_not_after_seconds", "End of the authority, seconds since 1970.", () =>
    seconds(certificates.authority.current().notAfter),
  );
}
