import { type Clock, SYSTEM_CLOCK } from "@cluster-connect/base";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createMetrics, openTracer, TRACING_SCHEMA, traceContextOf } from "../../src/index.ts";
import { createMemoryLogger, startTestCollector } from "../../src/testing/index.ts";

const TRACE = traceContextOf(undefined, "0123456789abcdef");

function stage(endpoint: string, clock: Clock = SYSTEM_CLOCK) {
  const log = createMemoryLogger();
  const metrics = createMetrics({ service: "agent" });
  const tracer = openTracer({ endpoint }, { name: "agent", software: "agent/1" }, { clock, log, metrics });
  if (tracer === undefined) throw new Error("no tracer");
  return { tracer, log, metrics };
}

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

test("spans that ended before the stop are sent by then, each once", async () => {
  await using collector = await startTestCollector();
  const { tracer } = stage(collector.endpoint);
  const span = tracer.begin("stream", TRACE, { name: "web" });
  span.end("CC_TIMEOUT", { bytes: 5 });
  span.end("ok");
  await tracer.run({ signal: AbortSignal.abort() });
  expect(collector.spans).toMatchObject([
    {
      service: "cluster-connect-agent",
      traceId: TRACE.traceId,
      attributes: { name: "web", bytes: 5 },
      status: { code: 2, message: "CC_TIMEOUT" },
    },
  ]);
  expect(tracer.dropped).toBe(0);
});

test("more spans than may wait are let go and counted", async () => {
  await using collector = await startTestCollector();
  const { tracer, metrics } = stage(collector.endpoint);
  for (let n = 0; n < 5_003; n += 1) tracer.begin("stream", TRACE, {}).end("ok");
  expect(tracer.dropped).toBe(3);
  expect(await metrics.text()).toMatch(/traces_dropped(\{.*\})? 3\n/);
  await tracer.run({ signal: AbortSignal.abort() });
  expect(collector.spans).toHaveLength(5_000);
});

test("what a collector does not take now is sent again, what it refuses for good is not", async () => {
  const answers = [503, 429, 200, 400];
  await using collector = await startTestCollector({ status: () => answers.shift() ?? 200 });
  const end = new AbortController();
  let rounds = 0;
  const { tracer, log } = stage(collector.endpoint, {
    ...SYSTEM_CLOCK,
    setTimer: (_delayMs, fire) => {
      rounds += 1;
      if (rounds > 3) end.abort();
      else tracer.begin("stream", TRACE, { round: rounds }).end("ok");
      return SYSTEM_CLOCK.setTimer(0, fire);
    },
  });
  tracer.begin("stream", TRACE, { round: 0 }).end("ok");
  await tracer.run({ signal: end.signal });
  expect(collector.spans.map(({ attributes }) => attributes["round"])).toEqual([0, 1, 2]);
  expect(tracer.dropped).toBe(1);
  expect(log.lines).toMatchObject([{ event: "traces.failed" }, { event: "traces.failed" }]);
});

test("what a collector does not take until the stop is let go, counted and told once", async () => {
  await using collector = await startTestCollector({ status: () => 503 });
  const { tracer, log } = stage(collector.endpoint);
  for (const _ of [1, 2]) {
    tracer.begin("stream", TRACE, {}).end("ok");
    await tracer.run({ signal: AbortSignal.abort() });
  }
  expect(tracer.dropped).toBe(2);
  expect(log.lines).toMatchObject([{ event: "traces.failed", level: "warn" }]);
});

test("an endpoint is an address of the web without credentials", () => {
  const valid = (endpoint: string): boolean => TRACING_SCHEMA.safeParse({ endpoint }).success;
  expect(valid("http://collector.test:4318")).toBe(true);
  expect(valid("ftp://collector.test")).toBe(false);
  expect(valid("https://jane:secret@collector.test")).toBe(false);
  expect(valid("collector")).toBe(false);
});
