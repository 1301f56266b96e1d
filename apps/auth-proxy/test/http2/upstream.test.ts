import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { constants } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SYSTEM_CLOCK } from "@cluster-connect/base";
import { expect, test } from "vitest";
import { createUpstream, type Upstream, type UpstreamCallRequest } from "../../src/apiserver/upstream.ts";
import { loadAuthority } from "../../src/certificates/authority.ts";
import { ALICE, createFixture, type Fixture, OWN_TOKEN } from "../support/fixture.ts";
import { answerOf, ask, openHttp2, openRequest } from "../support/http2-client.ts";
import { type Http2Upstream, linesOf, startHttp2Upstream } from "../support/http2-upstream.ts";
import { openStream, requestText, sendRaw } from "../support/raw-client.ts";

interface Setup extends AsyncDisposable {
  readonly fixture: Fixture;
  readonly upstream: Http2Upstream;
}

/** An auth proxy in front of an apiserver that speaks HTTP/2. */
async function setUp(maxConcurrentStreams = 100): Promise<Setup> {
  const folder = await mkdtemp(join(tmpdir(), "http2-upstream-"));
  const ca = await loadAuthority(folder, { clusterId: "up", seconds: 3_600, now: new Date() });
  const upstream = await startHttp2Upstream(await ca.issue(["127.0.0.1"], { seconds: 3_600, now: new Date() }), {
    maxConcurrentStreams,
  });
  const fixture = await createFixture({ upstream: { url: upstream.url, caPem: ca.certPem } });
  return {
    fixture,
    upstream,
    async [Symbol.asyncDispose]() {
      await fixture[Symbol.asyncDispose]();
      await upstream[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    },
  };
}

const bearer = async ({ fixture }: Setup, name = "alice"): Promise<string[]> => [
  "authorization",
  `Bearer ${await fixture.token(name === "alice" ? {} : { sub: name, email: `${name}@example.org` })}`,
];

test("a caller over either version reaches an apiserver over HTTP/2 as themselves", async () => {
  await using setup = await setUp();
  const { fixture, upstream } = setup;
  const [, token] = await bearer(setup);
  const text = requestText(
    "POST /api/v1/x?a=%20b HTTP/1.1",
    ["Host: a", `Authorization: ${token}`, "Content-Length: 2"],
    "{}",
  );
  expect((await sendRaw(fixture.target, text)).status).toBe(200);
  const session = await openHttp2(fixture.target);
  expect((await ask(session, { headers: await bearer(setup) })).status).toBe(200);
  expect(upstream.seen.length).toBe(2);
  for (const seen of upstream.seen) {
    expect(linesOf(seen, "authorization")).toEqual([`Bearer ${OWN_TOKEN}`]);
    expect(linesOf(seen, "impersonate-user")).toEqual([ALICE]);
    expect(linesOf(seen, "impersonate-group")).toEqual(["dev", "ops"]);
    expect(linesOf(seen, ":authority")).toEqual([upstream.url.slice("https://".length)]);
    expect(linesOf(seen, "host")).toEqual([]);
  }
  expect(linesOf(upstream.seen[0], ":path")).toEqual(["/api/v1/x?a=%20b"]);
  session.destroy();
});

test("a target keeps its bytes above 0x7f over HTTP/2, and one with a control goes nowhere", async () => {
  await using setup = await setUp();
  const { fixture, upstream } = setup;
  // Among them what Latin-1 takes for a blank, a line's end or a control of terminals.
  const high = Array.from({ length: 128 }, (_, index) => String.fromCharCode(0x80 + index)).join("");
  const path = `/api/v1/namespaces/gr\xc3\xb6\xc3\x9fe/configmaps/${high}?q=${high}`;
  const session = await openHttp2(fixture.target);
  const headers = await bearer(setup);
  expect((await ask(session, { path, headers })).status).toBe(200);
  expect(upstream.seen.map((seen) => linesOf(seen, ":path"))).toEqual([[path]]);
  expect((await ask(session, { path: "/api/v1/a\x7fb", headers })).status).not.toBe(200);
  expect(upstream.seen).toHaveLength(1);
  expect(fixture.log.lines.find(({ status }) => status === 200)?.["path"]).toMatch(/^[\x21-\x7e]+$/);
  session.destroy();
});

test("callers that share a connection to us share none to the apiserver", async () => {
  await using setup = await setUp();
  const { fixture, upstream } = setup;
  const session = await openHttp2(fixture.target);
  const names = ["alice", "bob", "carol"];
  const tokens = await Promise.all(names.map((name) => bearer(setup, name)));
  const rounds = Array.from({ length: 10 }, () => tokens).flat();
  await Promise.all(rounds.map((headers) => ask(session, { headers })));
  const users = new Map<number, Set<string>>();
  for (const seen of upstream.seen) {
    const known = users.get(seen.connection) ?? new Set();
    for (const user of linesOf(seen, "impersonate-user")) known.add(user);
    users.set(seen.connection, known);
  }
  expect(upstream.seen.length).toBe(30);
  expect([...users.values()].map((known) => known.size)).toEqual([1, 1, 1]);
  session.destroy();
});

test("what one stream of a connection says is no other's, on either side", async () => {
  await using setup = await setUp(250);
  const { fixture, upstream } = setup;
  upstream.answer = (stream, raw) => {
    stream.respond({ ":status": 200 });
    stream.end(JSON.stringify(raw));
  };
  const session = await openHttp2(fixture.target);
  await Promise.all(
    Array.from({ length: 60 }, async (_, index) => {
      // Each third says nothing of its own, and what the streams before it said has to be forgotten.
      const own = index % 3 === 0 ? [] : ["cookie", `c=${index}`, "x-own", String(index)];
      const name = index % 2 === 0 ? "alice" : "bob";
      const path = `/api/v1/namespaces/n-${index}/pods`;
      const headers = [...(await bearer(setup, name)), ...own];
      const answer = await ask(session, { headers, path, authority: `other-${index}.example` });
      const seen = { raw: JSON.parse(answer.body), connection: 0 };
      expect(linesOf(seen, ":path")).toEqual([path]);
      expect(linesOf(seen, ":authority")).toEqual([upstream.url.slice("https://".length)]);
      expect(linesOf(seen, "impersonate-user")).toEqual([name === "alice" ? ALICE : "bob@example.org"]);
      expect([...linesOf(seen, "cookie"), ...linesOf(seen, "x-own")]).toEqual(own.filter((_line, at) => at % 2 === 1));
      expect(linesOf(seen, "authorization")).toEqual([`Bearer ${OWN_TOKEN}`]);
    }),
  );
  session.destroy();
});

test.each([
  ":path: /api/v1/secrets",
  ":authority: elsewhere",
  ":method: DELETE",
  ": x",
  "x:y\0impersonate-user: admin",
  "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
])("%j in a head of HTTP/1.1 is nothing to an apiserver over HTTP/2", async (line) => {
  await using setup = await setUp();
  const { fixture, upstream } = setup;
  const [, token] = await bearer(setup);
  const lines = ["Host: a", `Authorization: ${token}`, line];
  const answer = await sendRaw(fixture.target, requestText("GET /x HTTP/1.1", lines));
  expect([400, 0]).toContain(answer.status);
  expect(upstream.seen).toEqual([]);
});

test("trailers of HTTP/1.1 that say who is asking are dropped on their way to HTTP/2", async () => {
  await using setup = await setUp();
  const { fixture, upstream } = setup;
  const trailed = Promise.withResolvers<readonly string[]>();
  upstream.answer = (stream) => {
    stream.once("trailers", (_headers: unknown, _flags: number, raw: readonly string[]) => trailed.resolve(raw));
    stream.resume().once("end", () => {
      stream.respond({ ":status": 200 });
      stream.end("{}");
    });
  };
  const [, token] = await bearer(setup);
  const head = ["POST /x HTTP/1.1", "Host: a", `Authorization: ${token}`, "Transfer-Encoding: chunked", "", ""];
  const trailers = "0\r\nImpersonate-User: admin\r\n:path: /y\r\nX-Remote-User: admin\r\nX-Sum: 7\r\n\r\n";
  const bad = await sendRaw(fixture.target, `${head.join("\r\n")}2\r\n{}\r\n${trailers}`);
  expect([400, 0]).toContain(bad.status);
  const good = trailers.replace(":path: /y\r\n", "");
  expect((await sendRaw(fixture.target, `${head.join("\r\n")}2\r\n{}\r\n${good}`)).status).toBe(200);
  expect(await trailed.promise).toEqual(["x-sum", "7"]);
});

test("no connection carries more streams than the apiserver takes", async () => {
  await using setup = await setUp(2);
  const { fixture, upstream } = setup;
  upstream.answer = (stream) => {
    stream.respond({ ":status": 200 });
    stream.write("x");
  };
  const session = await openHttp2(fixture.target);
  const headers = await bearer(setup);
  const streams = Array.from({ length: 5 }, () => openRequest(session, { path: "/api/v1/pods?watch=1", headers }));
  await Promise.all(streams.map((stream) => once(stream.end(), "response")));
  expect(upstream.seen.length).toBe(5);
  expect(upstream.sessions.length).toBe(3);
  session.destroy();
});

test("a stream sends and receives at once, over both versions", async () => {
  await using setup = await setUp();
  const { fixture, upstream } = setup;
  upstream.answer = (stream) => {
    stream.respond({ ":status": 200 });
    stream.pipe(stream);
  };
  const session = await openHttp2(fixture.target);
  const headers = await bearer(setup);
  const stream = openRequest(session, { method: "POST", path: "/api/v1/namespaces/a/services/b/proxy/", headers });
  for (const line of ["one", "two", "three"]) {
    stream.write(line);
    expect(String((await once(stream, "data"))[0])).toBe(line);
  }
  const rest = answerOf(stream);
  stream.end();
  expect(await rest).toMatchObject({ error: undefined });
  session.destroy();
  const raw = await openStream(fixture.target);
  const lines = ["Host: a", `Authorization: ${headers[1]}`, "Transfer-Encoding: chunked"];
  raw.write(requestText("POST /api/v1/namespaces/a/services/b/proxy/ HTTP/1.1", lines));
  let seen = "";
  raw.on("data", (chunk: Buffer) => {
    seen += chunk.toString("latin1");
  });
  for (const line of ["one", "two", "six"]) {
    raw.write(`3\r\n${line}\r\n`);
    await expect.poll(() => seen).toContain(line);
  }
  raw.destroy();
});

test.each([
  ["NO_ERROR", constants.NGHTTP2_NO_ERROR],
  ["CANCEL", constants.NGHTTP2_CANCEL],
  ["INTERNAL_ERROR", constants.NGHTTP2_INTERNAL_ERROR],
])("an answer that the apiserver resets with %s never looks complete", async (_name, code) => {
  await using setup = await setUp();
  const { fixture, upstream } = setup;
  upstream.answer = (stream) => {
    stream.respond({ ":status": 200 });
    stream.write("part of it", () => {
      // Its own `end` would say that all is there.
      stream.end = () => stream;
      stream.close(code);
    });
  };
  const session = await openHttp2(fixture.target);
  const answer = await ask(session, { headers: await bearer(setup) });
  expect(answer.error).toContain("NGHTTP2_INTERNAL_ERROR");
  session.destroy();
});

test("an answer whose connection to the apiserver is lost never looks complete", async () => {
  await using setup = await setUp();
  const { fixture, upstream } = setup;
  upstream.answer = (stream) => {
    stream.respond({ ":status": 200 });
    stream.write("part of it", () => stream.session?.socket.destroy());
  };
  const session = await openHttp2(fixture.target);
  const answer = await ask(session, { headers: await bearer(setup) });
  expect(answer.error).toContain("NGHTTP2_INTERNAL_ERROR");
  session.destroy();
});

test("a request that the apiserver has not taken is sent again, whatever its method", async () => {
  await using setup = await setUp();
  const { fixture, upstream } = setup;
  const usual = upstream.answer;
  upstream.answer = (stream) => {
    upstream.answer = usual;
    stream.close(constants.NGHTTP2_REFUSED_STREAM);
  };
  const session = await openHttp2(fixture.target);
  const headers = [...(await bearer(setup)), "content-length", "2"];
  expect((await ask(session, { method: "POST", headers, body: "{}" })).status).toBe(200);
  expect(upstream.seen.length).toBe(2);
  session.destroy();
});

test("one that it may have taken is not, unless it changes nothing", async () => {
  await using setup = await setUp();
  const { fixture, upstream } = setup;
  upstream.answer = (stream) => stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  const session = await openHttp2(fixture.target);
  const headers = [...(await bearer(setup)), "content-length", "2"];
  expect((await ask(session, { method: "POST", headers, body: "{}" })).status).toBe(503);
  expect(upstream.seen.length).toBe(1);
  session.destroy();
});

test("a connection that the apiserver drains takes no more streams", async () => {
  await using setup = await setUp();
  const { fixture, upstream } = setup;
  const session = await openHttp2(fixture.target);
  const headers = await bearer(setup);
  await ask(session, { headers });
  const [first] = upstream.sessions;
  first?.close();
  await expect.poll(() => first?.closed).toBe(true);
  for (let round = 0; round < 3; round += 1) expect((await ask(session, { headers })).status).toBe(200);
  expect(upstream.sessions.length).toBe(2);
  session.destroy();
});

test("a line that would be written as two goes nowhere", async () => {
  await using setup = await setUp();
  const { upstream } = setup;
  const direct: Upstream = createUpstream(
    upstream.url,
    { http2: true },
    { ca: () => setup.fixture.upstreamCa, clock: SYSTEM_CLOCK },
  );
  const request: UpstreamCallRequest = {
    method: "GET",
    target: "/",
    headers: ["Host", "a", "X", "a\0impersonate-user\0admin"],
    caller: "a",
    bodiless: true,
  };
  const { signal } = new AbortController();
  await expect(direct.call(request, { signal })).rejects.toMatchObject({ code: "CC_REQUEST_REFUSED" });
  expect(upstream.seen).toEqual([]);
  direct.close();
});

test("an answer that is there whole, and whose stream is closed, before it is read arrives", async () => {
  await using setup = await setUp();
  const { fixture, upstream } = setup;
  // Whether this 401 is about our own token is asked first; meanwhile everything of it has come.
  upstream.answer = (stream, raw) => {
    const own = !raw.includes("impersonate-user");
    stream.respond({ ":status": own ? 200 : 401 });
    stream.end(own ? "{}" : "an application's own word");
  };
  const session = await openHttp2(fixture.target);
  const answer = await ask(session, { headers: await bearer(setup) });
  expect(answer).toMatchObject({ status: 401, body: "an application's own word", error: undefined });
  session.destroy();
});
