import { startTestCollector } from "@cluster-connect/service/testing";
import { expect, test, vi } from "vitest";
import { dialAgent, dialCli, enrollAgent, openRequest, opsToken, PROD, startFixture } from "../support/fixture.ts";

test("a stream's span goes to the collector, and the agent is told of it", async () => {
  await using collector = await startTestCollector();
  const fixture = await startFixture({ config: { tracing: { endpoint: collector.endpoint } } });
  const told: (string | undefined)[] = [];
  const agent = await enrollAgent(fixture);
  const tunnel = await dialAgent(fixture, agent, {
    onStream: (incoming) => {
      if (incoming.request.kind === "open") told.push(incoming.request.open.traceparent);
      const stream = incoming.accept({ instanceId: agent.instanceId });
      stream.pipe(stream);
    },
  });
  await tunnel.ready;
  await vi.waitUntil(() => fixture.relay.registry.view(PROD).state === "connected", { timeout: 30_000 });
  const session = await dialCli(fixture, await opsToken(fixture));
  const stream = session.open(openRequest());
  stream.end("hello");
  for await (const _ of stream);
  await vi.waitUntil(() => fixture.log.lines.some(({ event }) => event === "stream.closed"), { timeout: 30_000 });
  await fixture.stop();
  const { spans } = collector;
  expect(spans).toMatchObject([
    {
      service: "cluster-connect-relay",
      name: "stream",
      traceId: "00000000000000000123456789abcdef",
      attributes: { "cluster_connect.cluster": "prod" },
      status: { code: 1 },
    },
  ]);
  expect(told).toEqual([`00-00000000000000000123456789abcdef-${spans[0]?.spanId}-01`]);
});
