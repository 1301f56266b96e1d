/** Series that Prometheus would read from a relay, and whether an alert is to fire then. */
interface AlertTest {
  readonly alert: string;
  /** Values by the minute, from the first one on, by series. */
  readonly series: Readonly<Record<string, string>>;
  readonly fires: boolean;
}

const OPENS = "cluster_connect_stream_opens_total";

const TESTS: readonly AlertTest[] = [
  { alert: "RelayDown", series: { 'up{job="cluster-connect-relay"}': "1 0x30" }, fires: true },
  { alert: "RelayDown", series: { 'up{job="cluster-connect-relay"}': "1x30" }, fires: false },
  { alert: "RelaysUnknown", series: { 'up{job="another"}': "1x30" }, fires: true },
  { alert: "RelaysUnknown", series: { 'up{job="cluster-connect-relay"}': "0x30" }, fires: false },
  { alert: "RelayHasNoTunnels", series: { cluster_connect_tunnels: "0x30" }, fires: true },
  {
    alert: "RelayHasNoTunnels",
    series: { 'cluster_connect_tunnels{instance="a"}': "0x30", 'cluster_connect_tunnels{instance="b"}': "3x30" },
    fires: false,
  },
  {
    alert: "StreamsRefused",
    series: { [`${OPENS}{result="ok"}`]: "0+90x30", [`${OPENS}{result="CC_AGENT_OFFLINE"}`]: "0+10x30" },
    fires: true,
  },
  {
    alert: "StreamsRefused",
    series: { [`${OPENS}{result="ok"}`]: "0+90x30", [`${OPENS}{result="CC_CANCELLED"}`]: "0+10x30" },
    fires: false,
  },
  { alert: "GrantsStale", series: { cluster_connect_grants_stale: "1x30" }, fires: true },
  // Which is why the relay has the series before anything is lost.
  {
    alert: "AuditLost",
    series: { 'cluster_connect_audit_sink_dropped_total{sink="webhook"}': "0x25 7x5" },
    fires: true,
  },
  { alert: "AuditLost", series: { 'cluster_connect_audit_sink_dropped_total{sink="webhook"}': "7x30" }, fires: false },
  { alert: "AuditNotSealed", series: { cluster_connect_audit_seal_age_seconds: "10860x30" }, fires: true },
  { alert: "AuditNotSealed", series: { cluster_connect_audit_seal_age_seconds: "10800x30" }, fires: false },
  { alert: "EventLoopBusy", series: { 'nodejs_eventloop_lag_p99_seconds{service="relay"}': "0.5x30" }, fires: true },
];

/** The document for `promtool test rules`; each test looks after 30 minutes. */
export function alertTests(rulesFile: string): unknown {
  return {
    rule_files: [rulesFile],
    tests: TESTS.map(({ alert, series, fires }) => ({
      name: `${alert} ${fires ? "fires" : "is silent"}`,
      interval: "1m",
      input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
      promql_expr_test: [
        {
          expr: `count(ALERTS{alertname="${alert}", alertstate="firing"}) or vector(0)`,
          eval_time: "30m",
          exp_samples: [{ labels: "{}", value: fires ? 1 : 0 }],
        },
      ],
    })),
  };
}
