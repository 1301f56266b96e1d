import { type CollectedSpan, startTestCollector, type TestCollector } from "@cluster-connect/service/testing";
import { afterAll, expect, test } from "vitest";
import { pollUntil } from "../../src/process/poll.ts";
import { useStack } from "../support/stack.ts";

let collector: TestCollector | undefined;
const suite = useStack(async () => {
  collector = await startTestCollector();
  return { collector: collector.endpoint };
});
afterAll(async () => await collector?.[Symbol.asyncDispose]());

/** Daemons send what they have every five seconds; what is missing after this long does not come. */
const DEADLINE_MS = 60_000;

test("a request is one trace: CLI, relay, agent, auth proxy, each below the one before it", async () => {
  const { signIn } = suite();
  const viewer = await signIn("viewer");
  expect(await viewer.run("kubectl", ["get", "configmaps", "-n", "kube-public"])).toMatchObject({ code: 0 });
  await viewer.proxy.stop();
  const request = await seen("the request's span", () => spans().find(isList));
  const trace = await seen("the streams' spans", () => traceOf(request));
  const [cli, relay, agent] = trace;
  expect(trace.map(({ service, name }) => `${service} ${name}`)).toEqual([
    "cluster-connect-cli stream",
    "cluster-connect-relay stream",
    "cluster-connect-agent stream",
  ]);
  expect(cli?.parentSpanId).toBeUndefined();
  expect(relay?.parentSpanId).toBe(cli?.spanId);
  expect(agent?.parentSpanId).toBe(relay?.spanId);
  expect(request.parentSpanId).toBe(agent?.spanId);
  for (const span of [...trace, request]) expect(span.traceId).toBe(span.attributes["cluster_connect.correlation_id"]);
});

/** @throws an Error with the spans that did come. */
async function seen<T>(what: string, find: () => T | undefined): Promise<T> {
  try {
    return await pollUntil(async () => find(), { signal: AbortSignal.timeout(DEADLINE_MS) });
  } catch (cause) {
    const came = spans().map(({ service, name, traceId, parentSpanId }) => ({ service, name, traceId, parentSpanId }));
    throw new Error(`${what} did not come: ${JSON.stringify(came)}`, { cause });
  }
}

const spans = (): readonly CollectedSpan[] => collector?.spans ?? [];

const isList = ({ service, attributes }: CollectedSpan): boolean =>
  service === "cluster-connect-auth-proxy" &&
  attributes["cluster_connect.verb"] === "list" &&
  attributes["cluster_connect.resource"] === "configmaps";

/** The streams under a request, from the caller on; undefined until the spans of all three have come. */
function traceOf({ traceId }: CollectedSpan): readonly CollectedSpan[] | undefined {
  const found = spans().filter((span) => span.traceId === traceId && span.name === "stream");
  const order = ["cluster-connect-cli", "cluster-connect-relay", "cluster-connect-agent"];
  if (found.length < order.length) return undefined;
  return found.toSorted((a, b) => order.indexOf(a.service) - order.indexOf(b.service));
}
