import { once } from "node:events";
import { connect } from "node:net";
import type { TLSSocket } from "node:tls";
import { expect, test } from "vitest";
import { DEFAULT_LIMITS, LONG_WITHOUT_MEMORY } from "../../src/limits/limits.ts";
import { createQuota } from "../../src/limits/quota.ts";
import { createQuotas } from "../../src/limits/quotas.ts";
import { createFixture, type Fixture } from "../support/fixture.ts";
import { buildProxyHeader } from "../support/proxy-header.ts";
import { openStream, type RawAnswer, readAnswer, requestText, secure, sendRaw } from "../support/raw-client.ts";

const NAME = { what: "requests", all: "limits.requests", perCaller: "limits.requestsPerCaller" };

test("a quota counts in all and for each caller, and a place can be given back once only", () => {
  const quota = createQuota(NAME, { all: 2, perCaller: 1 });
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

test("a caller with nothing under way is forgotten", () => {
  const quota = createQuota(NAME, { all: 10, perCaller: 2 });
  const leaves = ["a", "a", "b"].map((caller) => quota.enterCaller(caller));
  expect(quota.callers()).toBe(2);
  leaves[0]?.();
  expect(quota.callers()).toBe(2);
  leaves[1]?.();
  expect(quota.callers()).toBe(1);
  leaves[2]?.();
  expect(quota.callers()).toBe(0);
});

async function watch(fixture: Fixture, sub = "alice"): Promise<TLSSocket> {
  fixture.upstream.answer = (_request, response) => void response.writeHead(200).write("{}");
  const stream = await openStream(fixture.target);
  const lines = ["Host: a", `Authorization: Bearer ${await fixture.token({ sub })}`];
  stream.write(requestText("GET /api/v1/pods?watch=1 HTTP/1.1", lines));
  await once(stream, "data");
  return stream;
}

async function ask(fixture: Fixture, sub = "alice"): Promise<RawAnswer> {
  const lines = ["Host: a", `Authorization: Bearer ${await fixture.token({ sub })}`];
  return sendRaw(fixture.target, requestText("GET /api HTTP/1.1", lines));
}

test("a caller above their number of requests gets 429 with Retry-After and the setting's name, others go on", async () => {
  await using fixture = await createFixture({ config: { limits: { ...DEFAULT_LIMITS, requestsPerCaller: 2 } } });
  const usualAnswer = fixture.upstream.answer;
  fixture.upstream.answer = () => {};
  const waiting = await Promise.all([openStream(fixture.target), openStream(fixture.target)]);
  const lines = ["Host: a", `Authorization: Bearer ${await fixture.token()}`];
  for (const stream of waiting) stream.write(requestText("GET /api HTTP/1.1", lines));
  await expect.poll(() => fixture.upstream.requests.length).toBe(2);
  fixture.upstream.answer = usualAnswer;
  const answer = await ask(fixture);
  expect(answer.status).toBe(429);
  expect(answer.head).toMatch(/\r\nRetry-After: 1\r\n/);
  expect(JSON.parse(answer.body)).toMatchObject({
    reason: "TooManyRequests",
    message: expect.stringContaining("You have 2 requests under way already, as many as limits.requestsPerCaller"),
    details: { retryAfterSeconds: 1 },
  });
  expect((await ask(fixture, "bob")).status).toBe(200);
  waiting[0]?.destroy();
  await expect.poll(() => fixture.app.counts().underWay).toBe(1);
  expect((await ask(fixture)).status).toBe(200);
});

test("watches leave a caller's short requests their room, and have a number of their own", async () => {
  const limits = { ...DEFAULT_LIMITS, requestsPerCaller: 1, longRequestsPerCaller: 3 };
  await using fixture = await createFixture({ config: { limits } });
  const usualAnswer = fixture.upstream.answer;
  const watches = [await watch(fixture), await watch(fixture), await watch(fixture)];
  fixture.upstream.answer = usualAnswer;
  expect((await ask(fixture)).status).toBe(200);
  const lines = ["Host: a", `Authorization: Bearer ${await fixture.token()}`];
  const text = requestText("GET /api/v1/pods?watch=1 HTTP/1.1", lines);
  const refused = await sendRaw(fixture.target, text);
  expect(refused.status).toBe(429);
  expect(refused.body).toContain("limits.longRequestsPerCaller");
  watches[0]?.destroy();
  await expect.poll(() => fixture.app.counts().underWay).toBe(2);
  expect((await sendRaw(fixture.target, text)).status).toBe(200);
});

test("watches above a number that is always let in need memory", () => {
  let usedBytes = 79;
  const quotas = createQuotas(DEFAULT_LIMITS, { memory: () => ({ usedBytes, limitBytes: 100 }) });
  for (let count = 0; count < LONG_WITHOUT_MEMORY; count += 1) quotas.long.enter();
  const leave = quotas.long.enter();
  usedBytes = 80;
  expect(() => quotas.long.enter()).toThrow("no memory for more watches");
  leave();
  expect(quotas.long.size()).toBe(LONG_WITHOUT_MEMORY);
  expect(() => quotas.long.enter()).toThrow("no memory");
  quotas.short.enter();
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

test("one connection above the limit is told so, whatever it asks", async () => {
  await using fixture = await createFixture({ config: { limits: { ...DEFAULT_LIMITS, streams: 1 } } });
  const first = await openStream(fixture.target);
  const upgrade = ["Connection: Upgrade", "Upgrade: websocket"];
  for (const more of [[], upgrade]) {
    const lines = ["Host: a", `Authorization: Bearer ${await fixture.token()}`, ...more];
    const answer = await sendRaw(fixture.target, requestText("GET /api HTTP/1.1", lines));
    expect(answer.status).toBe(429);
    expect(answer.head).toMatch(/\r\nConnection: close/);
    expect(answer.body).toContain("as many as limits.streams of the auth proxy allows");
  }
  expect(fixture.upstream.requests).toEqual([]);
  expect(fixture.log.lines.filter(({ code }) => code === "CC_LIMIT_REACHED")).toHaveLength(2);
  first.destroy();
  await expect.poll(() => fixture.app.counts().streams).toBe(0);
  expect((await ask(fixture)).status).toBe(200);
});

test("one caller of the relay has no more than half of the connections", async () => {
  await using fixture = await createFixture({ config: { limits: { ...DEFAULT_LIMITS, streams: 4 } } });
  const eve = { username: "eve", sessionId: "session-eve" };
  const lines = ["Host: a", `Authorization: Bearer ${await fixture.token()}`];
  const text = requestText("GET /api HTTP/1.1", lines);
  const open = [await openStream(fixture.target, eve), await openStream(fixture.target, eve)];
  expect((await sendRaw(fixture.target, text, eve)).body).toContain("as many as half of limits.streams");
  expect((await sendRaw(fixture.target, text, { username: "ann", sessionId: "session-ann" })).status).toBe(200);
  for (const stream of open) stream.destroy();
});

test("a handshake waits its turn, and one caller of the relay does not hold up the others", async () => {
  await using fixture = await createFixture({ config: { limits: { ...DEFAULT_LIMITS, handshakes: 2 } } });
  const eve = { username: "eve", sessionId: "session-eve" };
  const silent = Array.from({ length: 6 }, () => connect(fixture.target.port, "127.0.0.1"));
  for (const socket of silent) socket.resume().write(buildProxyHeader(eve));
  await expect.poll(() => fixture.app.counts().streams).toBe(6);
  (await openStream(fixture.target, { username: "ann", sessionId: "session-ann" })).destroy();
  let eves: TLSSocket | undefined;
  const opening = openStream(fixture.target, eve).then((stream) => {
    eves = stream;
  });
  (await openStream(fixture.target, { username: "ann", sessionId: "session-ann" })).destroy();
  expect(eves).toBeUndefined();
  for (const socket of silent) socket.destroy();
  await opening;
  eves?.destroy();
});

test("a burst of connections loses none, however few handshakes there are at once", async () => {
  await using fixture = await createFixture({ config: { limits: { ...DEFAULT_LIMITS, handshakes: 4 } } });
  const answers = await Promise.all(Array.from({ length: 200 }, () => ask(fixture)));
  expect(answers.filter(({ status }) => status !== 200 && status !== 429)).toEqual([]);
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(200);
});
