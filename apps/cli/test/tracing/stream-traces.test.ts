import { startTestCollector } from "@cluster-connect/service/testing";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { testCli } from "../support/cli.ts";
import { startRelay } from "../support/relay.ts";
import { unsignedToken } from "../support/tokens.ts";

async function stage(env: Readonly<Record<string, string>>) {
  const relay = await startRelay();
  const cluster = await relay.addCluster("prod");
  const cli = testCli(await temporaryFolder(), {
    env: {
      CLUSTER_CONNECT_RELAY: relay.url,
      CLUSTER_CONNECT_TOKEN: unsignedToken({ aud: "cluster" }),
      CLUSTER_CONNECT_RELAY_TOKEN: unsignedToken({ aud: "relay" }),
      ...env,
    },
  });
  return { relay, cluster, cli };
}

test("each stream's span is the first of its trace, is sent before the command ends, and the relay is told of it", async () => {
  await using collector = await startTestCollector();
  const { relay, cli } = await stage({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint });
  expect(await cli.run("run", "-n", "prod", "--", "true")).toBe(0);
  expect(await cli.run("doctor", "-n", "prod", "--idle-seconds", "0")).toBe(0);
  expect(await cli.run("explain", "-n", "prod")).toBe(0);
  const { spans } = collector;
  expect(spans.length).toBeGreaterThanOrEqual(3);
  for (const span of spans) {
    expect(span).toMatchObject({ service: "cluster-connect-cli", name: "stream" });
    expect(span.parentSpanId).toBeUndefined();
    expect(span.attributes).toMatchObject({ "cluster_connect.cluster": "prod" });
    expect(span.attributes["cluster_connect.correlation_id"]).toBe(span.traceId);
  }
  const sent = spans.map(({ traceId, spanId }) => `00-${traceId}-${spanId}-01`);
  expect(new Set(relay.traceparents)).toEqual(new Set(sent));
});

test("the span of a stream that is refused says why", async () => {
  await using collector = await startTestCollector();
  const { cluster, cli } = await stage({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint });
  cluster.rejection = "CC_CLUSTER_UNKNOWN";
  expect(await cli.run("run", "-n", "prod", "--", "true")).not.toBe(0);
  expect(collector.spans).toMatchObject([{ status: { code: 2, message: "CC_CLUSTER_UNKNOWN" } }]);
});

test("without a collector nothing is said to the relay, and one that does not answer changes no result", async () => {
  const off = await stage({});
  expect(await off.cli.run("run", "-n", "prod", "--", "true")).toBe(0);
  expect(off.relay.traceparents).toEqual([undefined]);
  await using collector = await startTestCollector({ status: () => 503 });
  const failing = await stage({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint });
  expect(await failing.cli.run("run", "-v", "-n", "prod", "--", "true")).toBe(0);
  expect(failing.cli.err()).toContain(`The collector at ${new URL(collector.endpoint).host} does not take spans`);
});
