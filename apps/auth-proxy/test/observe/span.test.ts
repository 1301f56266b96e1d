import { startTestCollector, type TestCollector } from "@cluster-connect/service/testing";
import { expect, test } from "vitest";
import { ALICE, createFixture, type Fixture } from "../support/fixture.ts";
import { requestText, sendRaw } from "../support/raw-client.ts";

const CORRELATION_ID = "0123456789abcdef";
const TRACE_ID = CORRELATION_ID.padStart(32, "0");

const tracedTo = ({ endpoint }: TestCollector): Promise<Fixture> =>
  createFixture({ config: { tracing: { endpoint } } });

async function ask(fixture: Fixture, target: string, token: string, correlationId?: string): Promise<void> {
  const text = requestText(`GET ${target} HTTP/1.1`, ["Host: a", `Authorization: Bearer ${token}`]);
  await sendRaw(fixture.target, text, correlationId === undefined ? {} : { correlationId, username: ALICE });
}

test("each request's span is in the trace of its stream, and says no more than verb, resource and result", async () => {
  await using collector = await startTestCollector();
  {
    await using fixture = await tracedTo(collector);
    const token = await fixture.token();
    await ask(fixture, "/api/v1/namespaces/shop/pods/web-0/log?follow=s3cret", token, CORRELATION_ID);
    await ask(fixture, "/api/v1/S3CRET", token, CORRELATION_ID);
    await ask(fixture, "/apis", await fixture.token({ aud: "other" }), CORRELATION_ID);
  }
  const common = { service: "cluster-connect-auth-proxy", name: "request", traceId: TRACE_ID };
  expect(collector.spans).toMatchObject([
    {
      ...common,
      attributes: {
        "cluster_connect.correlation_id": CORRELATION_ID,
        "cluster_connect.verb": "get",
        "cluster_connect.resource": "pods",
        "http.response.status_code": 200,
      },
      status: { code: 1 },
    },
    { ...common, attributes: { "cluster_connect.resource": "none" } },
    {
      ...common,
      attributes: { "http.response.status_code": 401 },
      status: { code: 2, message: "CC_TOKEN_AUDIENCE" },
    },
  ]);
  const sent = JSON.stringify(collector.spans);
  for (const hidden of [ALICE, "shop", "web-0", "log", "s3cret", "S3CRET"]) expect(sent).not.toContain(hidden);
});

test("a request's span is below the agent's, and a text that names no span is left out", async () => {
  await using collector = await startTestCollector();
  {
    await using fixture = await tracedTo(collector);
    const text = requestText("GET /api HTTP/1.1", ["Host: a", `Authorization: Bearer ${await fixture.token()}`]);
    for (const traceparent of [`00-${TRACE_ID}-b7ad6b7169203331-01`, "\u0000\u{1f4a9}"]) {
      await sendRaw(fixture.target, text, { correlationId: CORRELATION_ID, traceparent });
    }
  }
  expect(collector.spans).toMatchObject([
    { traceId: TRACE_ID, parentSpanId: "b7ad6b7169203331" },
    { traceId: TRACE_ID, status: { code: 1 } },
  ]);
  expect(collector.spans[1]?.parentSpanId).toBeUndefined();
});

test("a request whose stream has no correlation id, or another text for it, is in no trace", async () => {
  await using collector = await startTestCollector();
  {
    await using fixture = await tracedTo(collector);
    const token = await fixture.token();
    await ask(fixture, "/api/v1/pods", token);
    await ask(fixture, "/api/v1/pods", token, "not-hex");
  }
  expect(collector.spans).toEqual([]);
});

test("a collector that is not there holds no request up", async () => {
  const { endpoint } = await (async () => {
    await using collector = await startTestCollector();
    return collector;
  })();
  await using fixture = await createFixture({ config: { tracing: { endpoint } } });
  await ask(fixture, "/api/v1/pods", await fixture.token(), CORRELATION_ID);
  expect(await fixture.log.once("request")).toMatchObject({ status: 200 });
});
