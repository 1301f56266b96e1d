import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";
import { SYSTEM_CLOCK } from "@cluster-connect/base";
import { createMemoryLogger } from "@cluster-connect/service/testing";
import { expect, onTestFinished, test, vi } from "vitest";
import {
  createWebhook,
  DELIVERY_HEADER,
  SIGNATURE_HEADER,
  signatureOf,
  type WebhookDeps,
} from "../../src/notify/webhook.ts";

async function startEndpoint(statuses: readonly number[]) {
  const got: { readonly body: string; readonly signature: string; readonly id: string }[] = [];
  const server = createServer(async (request: IncomingMessage, response) => {
    const body = await text(request);
    response.writeHead(statuses[got.length] ?? 200).end();
    got.push({
      body,
      signature: String(request.headers[SIGNATURE_HEADER]),
      id: String(request.headers[DELIVERY_HEADER]),
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return { url: `http://127.0.0.1:${address.port}`, got };
}

const message = (n: number) => ({ id: `prod/${n}`, body: JSON.stringify({ n }) });

function run(url: string, change: Partial<WebhookDeps> = {}) {
  const stop = new AbortController();
  const results: string[] = [];
  const over: string[] = [];
  const onOver = (id: string): void => void over.push(id);
  const waits: number[] = [];
  const clock = {
    ...SYSTEM_CLOCK,
    setTimer: (delayMs: number, fire: () => void) => {
      waits.push(delayMs);
      return SYSTEM_CLOCK.setTimer(0, fire);
    },
  };
  const onResult = (result: string): void => void results.push(result);
  const log = createMemoryLogger();
  const webhook = createWebhook(
    { url, secret: "s" },
    { fetch, clock, random: () => 1, log, onResult, onOver, ...change },
  );
  const running = webhook.run({ signal: stop.signal });
  onTestFinished(async () => {
    stop.abort();
    await running;
  });
  return { webhook, results, over, waits };
}

test("a message that is refused for good makes room for the next one after three attempts", async () => {
  const { url, got } = await startEndpoint([400, 503, 422, 404, 200]);
  const { webhook, results, over } = run(url);
  webhook.push(message(1));
  webhook.push(message(2));
  await expect.poll(() => over).toEqual(["prod/1", "prod/2"]);
  expect(got.map(({ body }) => body)).toEqual(['{"n":1}', '{"n":1}', '{"n":1}', '{"n":1}', '{"n":2}']);
  expect(results).toEqual(["retried", "retried", "retried", "retried", "failed", "sent"]);
});

test("messages come signed and in order, each again until it was taken", async () => {
  const { url, got } = await startEndpoint([503, 500, 200, 200]);
  const { webhook, results, over, waits } = run(url);
  webhook.push(message(1));
  webhook.push(message(2));
  await vi.waitUntil(() => results.filter((result) => result === "sent").length === 2, { timeout: 30_000 });
  expect(got.map(({ body }) => body)).toEqual(['{"n":1}', '{"n":1}', '{"n":1}', '{"n":2}']);
  expect(got.map(({ id }) => id)).toEqual(["prod/1", "prod/1", "prod/1", "prod/2"]);
  await expect.poll(() => over).toEqual(["prod/1", "prod/2"]);
  expect(waits).toEqual([500, 1_000]);
  const [{ body = "", signature = "" } = {}] = got;
  const seconds = Number(/^t=(\d+),/.exec(signature)?.[1]);
  expect(signature).toBe(signatureOf(body, "s", seconds * 1_000));
  expect(signature).not.toBe(signatureOf(body, "other", seconds * 1_000));
});

test("a message that nobody takes is given up, and the next one gets its turn", async () => {
  const { url, got } = await startEndpoint(Array.from({ length: 10 }, () => 500));
  const { webhook, results } = run(url);
  webhook.push(message(1));
  webhook.push(message(2));
  await vi.waitUntil(() => results.includes("sent"), { timeout: 30_000 });
  expect(results.filter((result) => result === "failed")).toHaveLength(1);
  expect(got.at(-1)?.body).toBe('{"n":2}');
});

test("the queue is bounded: the oldest go first, and are counted", async () => {
  const { promise, resolve } = Promise.withResolvers<Response>();
  const { webhook, results } = run("http://unused.test", { fetch: () => promise });
  for (let n = 0; n < 1_100; n += 1) webhook.push(message(n));
  expect(webhook.queued).toBeLessThanOrEqual(1_000);
  expect(results.filter((result) => result === "dropped").length).toBeGreaterThanOrEqual(99);
  resolve(new Response());
});

test("a message that waits already is not taken twice", async () => {
  const { url, got } = await startEndpoint([]);
  const { webhook, over } = run(url);
  webhook.push(message(1));
  webhook.push(message(1));
  webhook.push(message(2));
  await expect.poll(() => over).toEqual(["prod/1", "prod/2"]);
  expect(got.map(({ id }) => id)).toEqual(["prod/1", "prod/2"]);
});

test("a message that comes again while its end is noted is not sent again", async () => {
  const { url, got } = await startEndpoint([]);
  const noted = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const { webhook } = run(url, {
    onOver: async () => {
      begun.resolve();
      await noted.promise;
    },
  });
  webhook.push(message(1));
  await begun.promise;
  webhook.push(message(1));
  noted.resolve();
  webhook.push(message(2));
  await expect.poll(() => got.at(-1)?.id).toBe("prod/2");
  expect(got.map(({ id }) => id)).toEqual(["prod/1", "prod/2"]);
});
