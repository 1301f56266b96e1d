import { once } from "node:events";
import type { ClientHttp2Session } from "node:http2";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import { HTTP2_STREAMS } from "../../src/limits/limits.ts";
import { ALICE, createFixture, type Fixture, IMPERSONATION, OWN_TOKEN } from "../support/fixture.ts";
import { answerOf, ask, openAlpn, openHttp2, openRequest } from "../support/http2-client.ts";
import { block, END_HEADERS, FRAME, frame, openFrames, requestLines } from "../support/http2-frames.ts";
import { valuesOf } from "../support/recording-upstream.ts";

const bearer = async (fixture: Fixture, claims?: Readonly<Record<string, unknown>>): Promise<string[]> => [
  "authorization",
  `Bearer ${await fixture.token(claims)}`,
];

async function gauge(fixture: Fixture, name: string): Promise<number> {
  const text = await fixture.metrics.text();
  return Number(new RegExp(`^cluster_connect_${name}\\{[^}]*\\} (\\d+)$`, "m").exec(text)?.[1] ?? Number.NaN);
}

test("a request reaches the apiserver as the caller, and its answer comes back as it was", async () => {
  await using fixture = await createFixture();
  fixture.upstream.answer = (_request, response) => {
    response.writeHead(201, ["Warning", '299 - "gr\xc3\xb6\xc3\x9fe"', "X-Two", "a", "X-Two", "b"]);
    response.end("made");
  };
  const session = await openHttp2(fixture.target, { address: [10, 1, 2, 3] });
  const headers = [...(await bearer(fixture)), "x-a", "1", "x-a", "2"];
  const answer = await ask(session, { method: "POST", path: "/api/v1/x?a=%20b", headers, body: "body" });
  const [recorded] = fixture.upstream.requests;
  expect(recorded).toMatchObject({ method: "POST", target: "/api/v1/x?a=%20b", body: "body" });
  expect(valuesOf(recorded, "authorization")).toEqual([`Bearer ${OWN_TOKEN}`]);
  expect(valuesOf(recorded, "impersonate-user")).toEqual([ALICE]);
  expect(valuesOf(recorded, "x-a")).toEqual(["1", "2"]);
  expect(valuesOf(recorded, "x-forwarded-for")).toEqual(["10.1.2.3"]);
  expect(answer).toMatchObject({ status: 201, body: "made", error: undefined });
  expect(answer.headers.join("|")).toContain('warning|299 - "gr\xc3\xb6\xc3\x9fe"|x-two|a|x-two|b');
  session.destroy();
});

test("each stream of a connection is admitted for itself", async () => {
  await using fixture = await createFixture();
  fixture.upstream.answer = (request, response) => {
    response.end(request.headers["impersonate-user"]);
  };
  const session = await openHttp2(fixture.target);
  const names = ["bob", "carol", "dave"].map((name) => `${name}@example.org`);
  const tokens = await Promise.all(names.map((email) => bearer(fixture, { sub: email, email })));
  const rounds = Array.from({ length: 20 }, () => [undefined, ...tokens, ["authorization", "Bearer x"]]).flat();
  const answers = await Promise.all(rounds.map((headers) => ask(session, headers === undefined ? {} : { headers })));
  const told = answers.map(({ status, body }) => (status === 200 ? body : status));
  expect(told).toEqual(Array.from({ length: 20 }, () => [401, ...names, 401]).flat());
  session.destroy();
});

test("each stream of a connection acts as the user that it names itself, and no other stream does", async () => {
  await using fixture = await createFixture({ config: { impersonation: { ...IMPERSONATION, allowAs: true } } });
  const reviewed: string[] = [];
  fixture.upstream.answer = (request, response, body) => {
    if (request.url !== REVIEWS) return void response.end(JSON.stringify(actedAs(request.rawHeaders)));
    const { user, resourceAttributes } = JSON.parse(body).spec;
    reviewed.push(`${user} ${resourceAttributes.resource} ${resourceAttributes.name}`);
    response.writeHead(201, { "Content-Type": "application/json" });
    response.end(JSON.stringify({ status: { allowed: user === ALICE } }));
  };
  const session = await openHttp2(fixture.target);
  const [alice, bob] = [await bearer(fixture), await bearer(fixture, { sub: "bob", email: "bob@example.org" })];
  await Promise.all(
    Array.from({ length: 60 }, async (_, index) => {
      const as = ["impersonate-user", `as-${index}`, "impersonate-group", `group-${index}`];
      const [token, asks] = [index % 2 === 0 ? alice : bob, index % 3 !== 0];
      const answer = await ask(session, { headers: asks ? [...token, ...as] : token });
      if (asks && token === bob) expect(answer.status).toBe(403);
      else if (asks) expect(JSON.parse(answer.body)).toEqual([`as-${index}`, `group-${index}`]);
      else expect(JSON.parse(answer.body)).toEqual([token === alice ? ALICE : "bob@example.org", "dev", "ops"]);
    }),
  );
  expect(reviewed.filter((line) => line.startsWith(ALICE)).length).toBe(2 * 20);
  session.destroy();
});

const REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

/** The user and the groups that the apiserver is told. */
function actedAs(raw: readonly string[]): readonly string[] {
  const valuesAt = (wanted: string): readonly string[] =>
    raw.filter((_, index) => index % 2 === 1 && raw[index - 1]?.toLowerCase() === wanted);
  return [...valuesAt("impersonate-user"), ...valuesAt("impersonate-group")];
}

test("HTTP/1.1 is spoken to clients that do not offer HTTP/2, and to all when it is off", async () => {
  await using fixture = await createFixture();
  await using off = await createFixture({ config: { http2: false } });
  const chosen = async (target: Fixture, protocols: readonly string[]): Promise<string | false | null> => {
    const stream = await openAlpn(target.target, protocols);
    stream.destroy();
    return stream.alpnProtocol;
  };
  expect(await chosen(fixture, ["http/1.1"])).toBe("http/1.1");
  expect(await chosen(fixture, ["http/1.1", "h2"])).toBe("h2");
  expect(await chosen(off, ["h2", "http/1.1"])).toBe("http/1.1");
});

test("a cookie that the client has cut apart arrives as one, and trailers pass both ways", async () => {
  await using fixture = await createFixture();
  fixture.upstream.answer = (request, response) => {
    response.writeHead(200, { Trailer: "x-after" });
    response.write(JSON.stringify([request.headers.cookie, request.rawTrailers]));
    response.addTrailers({ "x-after": "1", "x-remote-user": "admin" });
    response.end();
  };
  const session = await openHttp2(fixture.target);
  const headers = [...(await bearer(fixture)), "cookie", "a=1", "cookie", "b=2"];
  const pseudo = [":method", "POST", ":scheme", "https", ":authority", "localhost", ":path", "/"];
  const stream = session.request([...pseudo, ...headers], { endStream: false, waitForTrailers: true });
  stream.once("wantTrailers", () => stream.sendTrailers({ "x-last": "2", "impersonate-user": "admin" }));
  const answered = answerOf(stream);
  stream.end("body");
  const { body, trailers } = await answered;
  expect(JSON.parse(body)).toEqual(["a=1; b=2", ["x-last", "2"]]);
  expect(trailers).toEqual(["x-after", "1"]);
  session.destroy();
});

test.each([0, 8, 2])("a body whose stream is reset with %i never looks complete to the apiserver", async (code) => {
  await using fixture = await createFixture();
  const ended = Promise.withResolvers<boolean>();
  fixture.upstream.answerEarly = (request) => {
    request.resume();
    request.once("close", () => ended.resolve(request.complete));
    request.on("error", () => {});
  };
  const client = await openFrames(fixture.target);
  const [, value = ""] = await bearer(fixture);
  client.write(
    frame(FRAME.headers, END_HEADERS, 1, block(requestLines("POST", ["authorization", value]))),
    frame(FRAME.data, 0, 1, Buffer.from("part of it")),
  );
  await expect.poll(() => fixture.upstream.requests.length).toBe(1);
  client.write(frame(FRAME.rst, 0, 1, Buffer.from([0, 0, 0, code])));
  expect(await ended.promise).toBe(false);
  client.socket.destroy();
});

test("an answer that breaks off at the apiserver is reset with an error, and never ends well", async () => {
  await using fixture = await createFixture();
  fixture.upstream.answer = (_request, response) => {
    response.write("part of it");
    setImmediate(() => response.destroy());
  };
  const session = await openHttp2(fixture.target);
  const answer = await ask(session, { headers: await bearer(fixture) });
  expect(answer.error).toContain("NGHTTP2_INTERNAL_ERROR");
  session.destroy();
});

/** Sends four megabytes and reads the answer; Node's client does not close a stream that it cannot write to an end. */
async function upload(session: ClientHttp2Session, headers: readonly string[]): Promise<readonly [number, string]> {
  const stream = openRequest(session, { method: "POST", headers });
  const response = once(stream, "response");
  stream.end(Buffer.alloc(4_000_000));
  const body = await text(stream);
  const [head] = await response;
  return [head[":status"], body];
}

test("an early answer to a large body arrives each time, and the connection goes on", async () => {
  await using fixture = await createFixture();
  fixture.upstream.answerEarly = (_request, response) => {
    response.writeHead(413, { "Content-Length": "9" }).end("too large");
  };
  const session = await openHttp2(fixture.target);
  const headers = await bearer(fixture);
  for (let round = 0; round < 10; round += 1) {
    expect(await upload(session, headers)).toEqual([413, "too large"]);
    const [status, body] = await upload(session, []);
    expect([status, JSON.parse(body).code]).toEqual([401, 401]);
  }
  session.destroy();
});

test("streams that are gone give their places back", async () => {
  await using fixture = await createFixture();
  fixture.upstream.answer = () => {};
  const session = await openHttp2(fixture.target);
  const headers = await bearer(fixture);
  const streams = Array.from({ length: 20 }, () => openRequest(session, { path: "/api/v1/pods?watch=1", headers }));
  await expect.poll(() => gauge(fixture, "places")).toBe(20);
  expect(await gauge(fixture, "unanswered")).toBe(20);
  expect(await gauge(fixture, "http2_sessions")).toBe(1);
  for (const stream of streams) stream.close(8);
  await expect.poll(() => gauge(fixture, "places")).toBe(0);
  expect(await gauge(fixture, "unanswered")).toBe(0);
  session.destroy();
  await expect.poll(() => gauge(fixture, "http2_sessions")).toBe(0);
  await expect.poll(() => fixture.app.counts()).toEqual({ streams: 0, underWay: 0 });
});

test("a client is told how many streams a connection takes", async () => {
  await using fixture = await createFixture();
  const session = await openHttp2(fixture.target);
  expect(session.remoteSettings.maxConcurrentStreams).toBe(HTTP2_STREAMS);
  session.destroy();
});

test("a stop asks for another connection and lets the streams of this one end", async () => {
  await using fixture = await createFixture();
  const gate = Promise.withResolvers<void>();
  fixture.upstream.answer = (_request, response) => void gate.promise.then(() => response.end("whole"));
  const session = await openHttp2(fixture.target);
  const answer = ask(session, { headers: await bearer(fixture) });
  await expect.poll(() => fixture.upstream.requests.length).toBe(1);
  const goaway = once(session, "goaway");
  const stopped = fixture.app.stop({ signal: AbortSignal.timeout(60_000) });
  await goaway;
  gate.resolve();
  expect(await answer).toMatchObject({ status: 200, body: "whole", error: undefined });
  await stopped;
});

test("a watch whose caller's issuer is trusted no longer ends with its reason, and the connection takes no more", async () => {
  let trusted = true;
  await using fixture = await createFixture({ isTrusted: () => trusted });
  fixture.upstream.answer = (_request, response) => {
    response.writeHead(200, { "Content-Type": "application/json" });
    response.write('{"type":"ADDED"}\n');
  };
  const session = await openHttp2(fixture.target);
  const goaway = once(session, "goaway");
  const watch = openRequest(session, { path: "/api/v1/pods?watch=1", headers: await bearer(fixture) });
  watch.end();
  const answer = answerOf(watch);
  await once(watch, "data");
  trusted = false;
  const { body, error } = await answer;
  expect(body).toContain("CC_TOKEN_ISSUER");
  expect(error).toBeUndefined();
  await goaway;
});
