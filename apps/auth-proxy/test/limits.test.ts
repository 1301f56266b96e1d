import { once } from "node:events";
import { connect } from "node:net";
import type { TLSSocket } from "node:tls";
import { expect, test } from "vitest";
import { DEFAULT_LIMITS } from "../src/limits.ts";
import { createQuota } from "../src/quota.ts";
import { createFixture, type Fixture } from "./support/fixture.ts";
import { buildProxyHeader } from "./support/proxy-header.ts";
import { openStream, readAnswer, requestText, secure, sendRaw } from "./support/raw-client.ts";

test("a quota counts in all and for each caller, and a place can be given back once only", () => {
  const quota = createQuota("requests", { all: 2, perCaller: 1 });
  const leave = quota.enter();
  quota.enter();
  expect(() => quota.enter()).toThrow(expect.objectContaining({ code: "CC_LIMIT_REACHED", retryAfterMs: 1_000 }));
  leave();
  leave();
  quota.enter();
  expect(() => quota.enter()).toThrow();
  const leaveCaller = quota.enterCaller("a");
  expect(() => quota.enterCaller("a")).toThrow(expect.objectContaining({ code: "CC_LIMIT_REACHED" }));
  quota.enterCaller("b");
  leaveCaller();
  quota.enterCaller("a");
  expect(quota.size()).toBe(2);
});

async function watch(fixture: Fixture, sub = "alice"): Promise<TLSSocket> {
  fixture.upstream.answer = (_request, response) => void response.writeHead(200).write("{}");
  const stream = await openStream(fixture.target);
  const lines = ["Host: a", `Authorization: Bearer ${await fixture.token({ sub })}`];
  stream.write(requestText("GET /api/v1/pods?watch=1 HTTP/1.1", lines));
  await once(stream, "data");
  return stream;
}

test("a caller above their number of requests gets 429 with Retry-After, others go on", async () => {
  await using fixture = await createFixture({ config: { limits: { ...DEFAULT_LIMITS, requestsPerCaller: 2 } } });
  await watch(fixture);
  const second = await watch(fixture);
  const lines = ["Host: a", `Authorization: Bearer ${await fixture.token()}`];
  const answer = await sendRaw(fixture.target, requestText("GET /api HTTP/1.1", lines));
  expect(answer.status).toBe(429);
  expect(answer.head).toMatch(/\r\nRetry-After: 1\r\n/);
  expect(JSON.parse(answer.body)).toMatchObject({ reason: "TooManyRequests", details: { retryAfterSeconds: 1 } });
  await watch(fixture, "bob");
  second.destroy();
  await expect.poll(() => fixture.app.counts().live).toBe(2);
  await watch(fixture);
});

test("upgrades have a number of their own", async () => {
  await using fixture = await createFixture({ config: { limits: { ...DEFAULT_LIMITS, upgrades: 1 } } });
  const lines = [
    "Host: a",
    `Authorization: Bearer ${await fixture.token()}`,
    "Connection: Upgrade",
    "Upgrade: websocket",
  ];
  const text = requestText("GET /api/v1/namespaces/a/pods/b/exec HTTP/1.1", lines);
  const first = await openStream(fixture.target);
  first.write(text);
  expect((await readAnswer(first)).status).toBe(101);
  expect((await sendRaw(fixture.target, text)).status).toBe(429);
  first.destroy();
});

test("a stream without the agent's header is closed before its handshake", async () => {
  await using fixture = await createFixture();
  const socket = connect(fixture.target.port, "127.0.0.1");
  await expect(secure(socket, fixture.target)).rejects.toThrow();
  expect(await fixture.metrics.text()).toContain('streams_refused_total{reason="header",service="auth-proxy"} 1');
});

test("a stream that ends within its header is closed", async () => {
  await using fixture = await createFixture();
  const socket = connect(fixture.target.port, "127.0.0.1");
  socket.end(Buffer.from("0d0a0d0a000d0a515549540a", "hex"));
  socket.resume();
  await once(socket, "close");
  await expect.poll(() => fixture.app.counts().streams).toBe(0);
});

test("a stream that ends within its handshake gives its place back at once", async () => {
  await using fixture = await createFixture({ config: { limits: { ...DEFAULT_LIMITS, handshakes: 1 } } });
  const socket = connect(fixture.target.port, "127.0.0.1");
  socket.write(Buffer.concat([buildProxyHeader(), Buffer.from("16030100c8", "hex")]));
  await expect.poll(() => fixture.app.counts().streams).toBe(1);
  socket.end();
  await expect.poll(() => fixture.app.counts().streams).toBe(0);
  (await openStream(fixture.target)).destroy();
});

test("more streams than allowed are closed at once", async () => {
  await using fixture = await createFixture({ config: { limits: { ...DEFAULT_LIMITS, streams: 1 } } });
  const first = await openStream(fixture.target);
  await expect(openStream(fixture.target)).rejects.toThrow();
  first.destroy();
  await expect.poll(() => fixture.app.counts().streams).toBe(0);
  (await openStream(fixture.target)).destroy();
});

test("one caller's streams that do not finish their handshake leave room for those of others", async () => {
  await using fixture = await createFixture({ config: { limits: { ...DEFAULT_LIMITS, handshakes: 4 } } });
  const eve = { username: "eve", sessionId: "session-eve" };
  for (let count = 0; count < 3; count += 1) {
    (await openStream(fixture.target, eve)).destroy();
    await expect.poll(() => fixture.app.counts().streams).toBe(0);
  }
  const waiting = Array.from({ length: 6 }, () => connect(fixture.target.port, "127.0.0.1"));
  for (const socket of waiting) socket.resume().write(buildProxyHeader(eve));
  await expect
    .poll(() => fixture.metrics.text())
    .toContain('streams_refused_total{reason="limit",service="auth-proxy"} 4');
  expect(fixture.app.counts().streams).toBe(2);
  await expect(openStream(fixture.target, eve)).rejects.toThrow();
  (await openStream(fixture.target, { username: "ann", sessionId: "session-ann" })).destroy();
  for (const socket of waiting) socket.destroy();
});

test("streams that do not finish their handshake take places of their own", async () => {
  await using fixture = await createFixture({ config: { limits: { ...DEFAULT_LIMITS, handshakes: 2 } } });
  const waiting = [connect(fixture.target.port, "127.0.0.1"), connect(fixture.target.port, "127.0.0.1")];
  await expect.poll(() => fixture.app.counts().streams).toBe(2);
  await expect(openStream(fixture.target)).rejects.toThrow();
  for (const socket of waiting) socket.destroy();
});
