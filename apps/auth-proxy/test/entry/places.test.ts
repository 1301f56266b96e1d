import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { encodeProxyHeader, encodeProxyQuestion } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import { DEFAULT_LIMITS, GONE_MS, MAX_DROPPED, MAX_UNANSWERED } from "../../src/limits/limits.ts";
import { settledOrGone } from "../../src/proxying/settled-or-gone.ts";
import { createFixture, type Fixture } from "../support/fixture.ts";
import { openStream, requestText, sendRaw } from "../support/raw-client.ts";
import { steppedClock } from "../support/stepped-clock.ts";

async function get(fixture: Fixture, target: string, ...headers: readonly string[]): Promise<string> {
  const lines = ["Host: a", `Authorization: Bearer ${await fixture.token()}`, ...headers];
  return requestText(`GET ${target} HTTP/1.1`, lines);
}

const requestLines = (fixture: Fixture): Fixture["log"]["lines"] =>
  fixture.log.lines.filter(({ event }) => event === "request");

async function gauge(fixture: Fixture, name: string): Promise<number> {
  const text = await fixture.metrics.text();
  return Number(new RegExp(`^cluster_connect_${name}\\{[^}]*\\} (\\d+)$`, "m").exec(text)?.[1] ?? Number.NaN);
}

test.each([
  ["an upgrade", (fixture: Fixture) => get(fixture, "/exec", "Connection: Upgrade", "Upgrade: websocket")],
  ["a CONNECT", async () => requestText("CONNECT a:443 HTTP/1.1", ["Host: a"])],
  ["another request", (fixture: Fixture) => get(fixture, "/second")],
])("%s behind a request that is never answered costs no place once the stream is gone", async (_what, second) => {
  await using fixture = await createFixture({
    config: { limits: { ...DEFAULT_LIMITS, requests: 4, requestsPerCaller: 4 } },
  });
  const usualAnswer = fixture.upstream.answer;
  fixture.upstream.answer = () => {};
  for (let round = 1; round <= 6; round += 1) {
    const stream = await openStream(fixture.target);
    stream.write((await get(fixture, "/first")) + (await second(fixture)));
    await expect
      .poll(() => requestLines(fixture).length + fixture.app.counts().underWay)
      .toBeGreaterThan(2 * round - 2);
    stream.destroy();
    await expect.poll(() => fixture.app.counts()).toEqual({ streams: 0, underWay: 0 });
    await expect.poll(() => requestLines(fixture).length).toBe(2 * round);
  }
  await expect.poll(() => gauge(fixture, "places")).toBe(0);
  expect(await gauge(fixture, "unanswered")).toBe(0);
  fixture.upstream.answer = usualAnswer;
  expect((await sendRaw(fixture.target, await get(fixture, "/"))).status).toBe(200);
});

test("a request under way holds one place, and its stream one answer that is due", async () => {
  await using fixture = await createFixture();
  fixture.upstream.answer = () => {};
  const stream = await openStream(fixture.target);
  stream.write(await get(fixture, "/"));
  await expect.poll(() => gauge(fixture, "places")).toBe(1);
  expect(await gauge(fixture, "unanswered")).toBe(1);
  stream.destroy();
});

test("work that goes on regardless of its caller's end loses its place in time", async () => {
  const clock = steppedClock(0);
  const gone = new AbortController();
  let error: unknown;
  const settled = settledOrGone(new Promise(() => {}), gone.signal, clock).catch((cause: unknown) => {
    error = cause;
  });
  gone.abort();
  await clock.pass(GONE_MS - 1);
  expect(error).toBeUndefined();
  await clock.pass(1);
  await settled;
  expect(error).toMatchObject({ code: "CC_CANCELLED" });
});

async function pipeline(fixture: Fixture, count: number): Promise<readonly string[]> {
  const gate = Promise.withResolvers<void>();
  fixture.upstream.answer = (_request, response) =>
    void gate.promise.then(() => response.writeHead(200, { "Content-Length": "2" }).end("{}"));
  const stream = await openStream(fixture.target);
  let text = "";
  stream.on("data", (chunk: Buffer) => {
    text += chunk.toString("latin1");
  });
  stream.write((await get(fixture, "/")).repeat(count));
  await expect.poll(() => fixture.upstream.requests.length).toBe(Math.min(count, MAX_UNANSWERED));
  gate.resolve();
  await expect.poll(() => text.match(/HTTP\/1\.1 /g)?.length).toBe(Math.min(count, MAX_UNANSWERED + 1));
  if (count > MAX_UNANSWERED) await expect.poll(() => stream.closed).toBe(true);
  stream.destroy();
  return text.match(/HTTP\/1\.1 [0-9]{3}/g) ?? [];
}

test("a few requests on one stream may wait for their answers at once", async () => {
  await using fixture = await createFixture();
  const answers = await pipeline(fixture, MAX_UNANSWERED);
  expect(answers).toEqual(Array.from({ length: MAX_UNANSWERED }, () => "HTTP/1.1 200"));
});

test.each([1, 50])("%i more than a few are not served: the first of them is told so in its turn", async (more) => {
  await using fixture = await createFixture();
  const answers = await pipeline(fixture, MAX_UNANSWERED + more);
  expect(answers).toEqual([...Array.from({ length: MAX_UNANSWERED }, () => "HTTP/1.1 200"), "HTTP/1.1 429"]);
  expect(fixture.upstream.requests).toHaveLength(MAX_UNANSWERED);
  await expect.poll(() => requestLines(fixture).length).toBe(MAX_UNANSWERED + 1);
});

test("a stream that goes on sending requests behind a refusal is broken off", async () => {
  await using fixture = await createFixture();
  fixture.upstream.answer = () => {};
  const stream = await openStream(fixture.target);
  const small = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  stream.write((await get(fixture, "/")).repeat(MAX_UNANSWERED) + small.repeat(MAX_DROPPED + 2));
  await once(stream, "close");
  await expect.poll(() => gauge(fixture, "places")).toBe(0);
});

test.each([
  ["a malformed head", "GET / HTTP/1.1\r\nno colon\r\n\r\n", 400, { verb: "unknown", path: "" }],
  ["CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 405, { verb: "connect" }],
])("%s that the parser refuses has its line in the log", async (_what, bytes, status, line) => {
  await using fixture = await createFixture();
  const fields = { sessionId: "session-1", username: "eve" };
  expect((await sendRaw(fixture.target, bytes, fields)).status).toBe(status);
  expect(await fixture.log.once("request")).toMatchObject({
    ...line,
    decision: "denied",
    code: "CC_REQUEST_REFUSED",
    status,
    sessionId: "session-1",
    relayUsername: "eve",
  });
});

async function begin(fixture: Fixture, header: Uint8Array): Promise<Socket> {
  const socket = connect(fixture.target.port, "127.0.0.1");
  await once(socket, "connect");
  socket.resume().write(header);
  return socket;
}

test("a question whether the auth proxy is there is answered by closing, also while no handshake has its turn", async () => {
  await using fixture = await createFixture({ config: { limits: { ...DEFAULT_LIMITS, handshakes: 1 } } });
  // Neither begins its handshake: one has the only turn, the other waits for it.
  const holder = await begin(fixture, encodeProxyHeader({ username: "holder" }));
  const waiting = await begin(fixture, encodeProxyHeader({ username: "waiting" }));
  const asking = await begin(fixture, encodeProxyQuestion());
  await once(asking, "close");
  expect([holder.closed, waiting.closed]).toEqual([false, false]);
  holder.destroy();
  waiting.destroy();
});
