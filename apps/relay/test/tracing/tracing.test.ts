import { once } from "node:events";
import { createServer } from "node:http";
import { json } from "node:stream/consumers";
import fc from "fast-check";
import { expect, onTestFinished, test, vi } from "vitest";
import { z } from "zod";
import { traceContextOf } from "../../src/tracing/trace-context.ts";
import { dialAgent, dialCli, enrollAgent, openRequest, opsToken, PROD, startFixture } from "../support/fixture.ts";

const SPANS = z.object({
  resourceSpans: z.tuple([
    z.object({ scopeSpans: z.tuple([z.object({ spans: z.array(z.record(z.string(), z.unknown())) })]) }),
  ]),
});

test("whatever the header says, a trace id has 32 hex digits", () => {
  fc.assert(
    fc.property(fc.option(fc.string(), { nil: undefined }), fc.stringMatching(/^[0-9a-f]{16,32}$/), (header, id) => {
      expect(traceContextOf(header, id)).toEqual({ traceId: id.padStart(32, "0") });
    }),
  );
  const header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  expect(traceContextOf(header, "0".repeat(16))).toEqual({
    traceId: "0af7651916cd43dd8448eb211c80319c",
    parentId: "b7ad6b7169203331",
  });
});

test("a stream's span goes to the collector, and the agent is told of it", async () => {
  const spans: Record<string, unknown>[] = [];
  const server = createServer(async (request, response) => {
    expect(request.url).toBe("/v1/traces");
    spans.push(...SPANS.parse(await json(request)).resourceSpans[0].scopeSpans[0].spans);
    response.writeHead(200).end("{}");
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  const fixture = await startFixture({ config: { tracing: { endpoint: `http://127.0.0.1:${address.port}` } } });
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
  await vi.waitUntil(() => fixture.relay.registry.view(PROD).state === "connected");
  const session = await dialCli(fixture, await opsToken(fixture));
  const stream = session.open(openRequest());
  stream.end("hello");
  for await (const _ of stream);
  await vi.waitUntil(() => fixture.log.lines.some(({ event }) => event === "stream.closed"));
  await fixture.stop();
  expect(spans).toMatchObject([{ traceId: "00000000000000000123456789abcdef", name: "stream", status: { code: 1 } }]);
  expect(told).toEqual([`00-00000000000000000123456789abcdef-${spans[0]?.["spanId"]}-01`]);
  expect(JSON.stringify(spans)).toContain('{"key":"cluster_connect.cluster","value":{"stringValue":"prod"}}');
});
