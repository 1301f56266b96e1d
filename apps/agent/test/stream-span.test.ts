import { text } from "node:stream/consumers";
import { parseClusterId } from "@cluster-connect/protocol";
import { startTestCollector } from "@cluster-connect/service/testing";
import { expect, test } from "vitest";
import { CALLER, CORRELATION_ID, configFor, listenAsProxy, SESSION_ID, startTestAgent } from "./support/fixture.ts";
import { startTestRelay } from "./support/test-relay.ts";

const TRACE_ID = CORRELATION_ID.padStart(32, "0");
const OPEN = {
  ...{ cluster: parseClusterId("prod"), upstream: "kubernetes" },
  ...{ correlationId: CORRELATION_ID, caller: CALLER, sessionId: SESSION_ID },
};

async function started(endpoint: string) {
  const relay = await startTestRelay();
  const config = await configFor(relay, { tracing: { endpoint } });
  await listenAsProxy(config, (socket) => socket.resume().on("end", () => socket.end("bye")));
  const { agent, log } = await startTestAgent(config);
  return { agent, log, session: await relay.nextSession() };
}

test("a stream's span is in the trace of its correlation id, below the relay's span where there is one", async () => {
  await using collector = await startTestCollector();
  const { agent, session } = await started(collector.endpoint);
  for (const more of [{}, { traceparent: `00-${TRACE_ID}-b7ad6b7169203331-01` }]) {
    const stream = session.open({ ...OPEN, ...more });
    stream.end("hello");
    await expect(text(stream)).resolves.toBe("bye");
    await stream.done;
  }
  await agent.close();
  const span = {
    ...{ service: "cluster-connect-agent", name: "stream", traceId: TRACE_ID, status: { code: 1 } },
    attributes: { "cluster_connect.cluster": "prod", "cluster_connect.upstream": "kubernetes" },
  };
  expect(collector.spans).toMatchObject([span, { ...span, parentSpanId: "b7ad6b7169203331" }]);
  expect(collector.spans[0]?.parentSpanId).toBeUndefined();
  expect(JSON.stringify(collector.spans)).not.toContain(CALLER.username);
});

test("the span of a stream that is refused says why", async () => {
  await using collector = await startTestCollector();
  const { agent, session } = await started(collector.endpoint);
  const stream = session.open({ ...OPEN, upstream: "other" });
  await expect(stream.accepted).rejects.toMatchObject({ code: "CC_UPSTREAM_UNREACHABLE" });
  await agent.close();
  expect(collector.spans).toMatchObject([
    { traceId: TRACE_ID, status: { code: 2, message: "CC_UPSTREAM_UNREACHABLE" } },
  ]);
});
