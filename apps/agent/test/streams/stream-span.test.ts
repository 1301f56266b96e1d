import { text } from "node:stream/consumers";
import { parseClusterId } from "@cluster-connect/protocol";
import { startTestCollector } from "@cluster-connect/service/testing";
import { expect, test } from "vitest";
import { CALLER, CORRELATION_ID, configFor, listenAsProxy, SESSION_ID, startTestAgent } from "../support/fixture.ts";
import { startTestRelay } from "../support/test-relay.ts";

const TRACE_ID = CORRELATION_ID.padStart(32, "0");
const OPEN = {
  cluster: parseClusterId("prod"),
  upstream: "kubernetes",
  correlationId: CORRELATION_ID,
  caller: CALLER,
  sessionId: SESSION_ID,
};

async function started(endpoint?: string) {
  const relay = await startTestRelay();
  const config = await configFor(relay, endpoint === undefined ? {} : { tracing: { endpoint } });
  const told: string[] = [];
  await listenAsProxy(config, (socket) => {
    const bytes: Buffer[] = [];
    socket.on("data", (chunk: Buffer) => bytes.push(chunk));
    socket.on("end", () => {
      told.push(/00-[0-9a-f]{32}-[0-9a-f]{16}-01/.exec(Buffer.concat(bytes).toString("latin1"))?.[0] ?? "nothing");
      socket.end("bye");
    });
  });
  const { agent, log } = await startTestAgent(config);
  return { agent, log, told, session: await relay.nextSession() };
}

test("a stream's span is in the trace of its correlation id, below the relay's span where there is one", async () => {
  await using collector = await startTestCollector();
  const { agent, session, told } = await started(collector.endpoint);
  for (const more of [{}, { traceparent: `00-${TRACE_ID}-b7ad6b7169203331-01` }]) {
    const stream = session.open({ ...OPEN, ...more });
    stream.end("hello");
    await expect(text(stream)).resolves.toBe("bye");
    await stream.done;
  }
  await agent.close();
  const span = {
    service: "cluster-connect-agent",
    name: "stream",
    traceId: TRACE_ID,
    status: { code: 1 },
    attributes: { "cluster_connect.cluster": "prod", "cluster_connect.upstream": "kubernetes" },
  };
  expect(collector.spans).toMatchObject([span, { ...span, parentSpanId: "b7ad6b7169203331" }]);
  expect(collector.spans[0]?.parentSpanId).toBeUndefined();
  expect(told).toEqual(collector.spans.map(({ spanId }) => `00-${TRACE_ID}-${spanId}-01`));
  expect(JSON.stringify(collector.spans)).not.toContain(CALLER.username);
});

test("an agent without a collector tells the auth proxy of the relay's span", async () => {
  const { agent, session, told } = await started();
  const traceparent = `00-${TRACE_ID}-b7ad6b7169203331-01`;
  for (const more of [{}, { traceparent }]) {
    const stream = session.open({ ...OPEN, ...more });
    stream.end("hello");
    await expect(text(stream)).resolves.toBe("bye");
  }
  await agent.close();
  expect(told).toEqual(["nothing", traceparent]);
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
