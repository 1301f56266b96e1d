import { once } from "node:events";
import { createServer } from "node:http";
import { json } from "node:stream/consumers";
import { z } from "zod";

/** A collector of a test's own, on loopback, that takes spans over OTLP/HTTP. */
export interface TestCollector extends AsyncDisposable {
  readonly endpoint: string;
  /** Spans that have come so far. */
  readonly spans: readonly CollectedSpan[];
}

export interface CollectedSpan {
  /** The daemon that sent it. */
  readonly service: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string | undefined;
  readonly name: string;
  readonly attributes: Readonly<Record<string, string | number>>;
  readonly status: { readonly code: number; readonly message?: string | undefined };
}

const ATTRIBUTES = z
  .array(
    z.object({
      key: z.string(),
      value: z.union([
        z.object({ stringValue: z.string() }).transform(({ stringValue }) => stringValue),
        z.object({ doubleValue: z.number() }).transform(({ doubleValue }) => doubleValue),
      ]),
    }),
  )
  .transform((list) => Object.fromEntries(list.map(({ key, value }) => [key, value])));

const DOCUMENT = z.object({
  resourceSpans: z.tuple([
    z.object({
      resource: z.object({ attributes: ATTRIBUTES }),
      scopeSpans: z.tuple([
        z.object({
          spans: z.array(
            z.object({
              traceId: z.string().length(32),
              spanId: z.string().length(16),
              name: z.string(),
              parentSpanId: z.string().optional(),
              attributes: ATTRIBUTES,
              startTimeUnixNano: z.string(),
              endTimeUnixNano: z.string(),
              status: z.object({ code: z.number(), message: z.string().optional() }),
            }),
          ),
        }),
      ]),
    }),
  ]),
});

/** @param options `status` answers a request, as a collector in trouble would; it keeps what it answers with 200 only. */
export async function startTestCollector(options: { readonly status?: () => number } = {}): Promise<TestCollector> {
  const spans: CollectedSpan[] = [];
  const server = createServer(async (request, response) => {
    const [found] = DOCUMENT.parse(await json(request)).resourceSpans;
    const service = String(found.resource.attributes["service.name"]);
    const status = options.status?.() ?? 200;
    const isKept = request.url === "/v1/traces" && status === 200;
    if (isKept) spans.push(...found.scopeSpans[0].spans.map((span) => ({ ...span, service })));
    response.writeHead(status).end("{}");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the collector has no port");
  return {
    endpoint: `http://127.0.0.1:${address.port}`,
    spans,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
