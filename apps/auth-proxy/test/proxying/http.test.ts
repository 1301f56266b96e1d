import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { ALICE, createFixture, type Fixture, OWN_TOKEN } from "../support/fixture.ts";
import { openStream, readAnswer, requestText, sendRaw } from "../support/raw-client.ts";
import { namesOf, valuesOf } from "../support/recording-upstream.ts";

let fixture: Fixture;
let usualAnswer: Fixture["upstream"]["answer"];
beforeAll(async () => {
  fixture = await createFixture();
  usualAnswer = fixture.upstream.answer;
});
afterAll(() => fixture?.[Symbol.asyncDispose]());
beforeEach(() => {
  fixture.upstream.requests.splice(0);
  fixture.upstream.answer = usualAnswer;
});

async function head(line: string, ...headers: readonly string[]): Promise<string> {
  return requestText(`${line} HTTP/1.1`, ["Host: a", `Authorization: Bearer ${await fixture.token()}`, ...headers]);
}

test("a caller's request reaches the apiserver verbatim, as the caller, with our own credential", async () => {
  const { target, upstream, issuer } = fixture;
  const answer = await sendRaw(
    target,
    await head("GET /api/v1/pods?limit=500&x=%2F..%2f", "Accept: application/json;as=Table"),
    { address: [203, 0, 113, 7], sessionId: "session-1", correlationId: "0123456789abcdef" },
  );
  expect(answer).toMatchObject({ status: 200, body: expect.stringContaining("{}") });
  const [recorded] = upstream.requests;
  expect(recorded).toMatchObject({ method: "GET", target: "/api/v1/pods?limit=500&x=%2F..%2f" });
  expect(valuesOf(recorded, "authorization")).toEqual([`Bearer ${OWN_TOKEN}`]);
  expect(valuesOf(recorded, "impersonate-user")).toEqual([ALICE]);
  expect(valuesOf(recorded, "impersonate-uid")).toEqual(["alice"]);
  expect(valuesOf(recorded, "impersonate-group")).toEqual(["dev", "ops"]);
  expect(valuesOf(recorded, "impersonate-extra-connect.example.org%2Fissuer")).toEqual([issuer.url]);
  expect(valuesOf(recorded, "impersonate-extra-connect.example.org%2Fsubject")).toEqual(["alice"]);
  expect(valuesOf(recorded, "impersonate-extra-connect.example.org%2Fcluster")).toEqual(["demo"]);
  expect(valuesOf(recorded, "impersonate-extra-connect.example.org%2Fsession")).toEqual(["session-1"]);
  expect(valuesOf(recorded, "impersonate-extra-connect.example.org%2Fcorrelation-id")).toEqual(["0123456789abcdef"]);
  expect(valuesOf(recorded, "x-forwarded-for")).toEqual(["203.0.113.7"]);
  expect(valuesOf(recorded, "accept")).toEqual(["application/json;as=Table"]);
  expect(valuesOf(recorded, "audit-id")).toEqual([expect.stringMatching(/^[0-9a-f-]{36}$/)]);
  expect(namesOf(recorded)).not.toContain("connection");
});

test.each([
  ["without a body", ""],
  ["with one", "{}"],
])("names beyond ASCII arrive as UTF-8, in a request %s", async (_what, body) => {
  const token = await fixture.token({ email: "Zoë Müller", groups: ["équipe", "👩‍💻"] });
  const lines = ["Host: a", `Authorization: Bearer ${token}`, `Content-Length: ${body.length}`];
  await sendRaw(fixture.target, requestText("POST /api/v1/namespaces HTTP/1.1", lines, body));
  const utf8 = (name: string): readonly string[] =>
    valuesOf(fixture.upstream.requests[0], name).map((value) => Buffer.from(value, "latin1").toString("utf8"));
  expect(utf8("impersonate-user")).toEqual(["Zoë Müller"]);
  expect(utf8("impersonate-group")).toEqual(["équipe", "👩‍💻"]);
});

test("an answer comes back as it was: status, order and repetition of headers, bytes", async () => {
  const body = gzipSync("hello");
  fixture.upstream.answer = (_request, response) => {
    response.writeHead(409, "Conflict", [
      "X-B",
      "1",
      "Warning",
      "a",
      "X-A",
      "2",
      "Warning",
      "b",
      "Content-Encoding",
      "gzip",
    ]);
    response.end(body);
  };
  const answer = await sendRaw(fixture.target, await head("GET /api", "Accept-Encoding: gzip"));
  expect(answer.head).toMatch(/^HTTP\/1\.1 409 Conflict\r\nX-B: 1\r\nWarning: a\r\nX-A: 2\r\nWarning: b\r\n/);
  expect(answer.body).toContain(body.toString("latin1"));
});

test("headers of the hop to the apiserver stay there", async () => {
  fixture.upstream.answer = (_request, response) => {
    response.writeHead(200, { Connection: "close, X-Hop", "X-Hop": "1", "Keep-Alive": "timeout=1", "X-End": "1" });
    response.end();
  };
  const answer = await sendRaw(fixture.target, await head("GET /api"));
  expect(answer.head).toContain("X-End: 1");
  expect(answer.head).not.toContain("X-Hop");
  expect(answer.head).not.toContain("timeout=1\r\n");
});

test.each([
  ["trailers", "trailers"],
  ["gzip;q=0.5, Trailers", "trailers"],
  ["gzip", undefined],
  ["trailers;q=1", undefined],
])(
  "TE: %s arrives as %s: an application is told that its trailers are wanted, and nothing else of the hop",
  async (te, arrived) => {
    await sendRaw(fixture.target, await head("GET /api", `TE: ${te}`, "Connection: TE"));
    expect(valuesOf(fixture.upstream.requests.at(-1), "TE")).toEqual(arrived === undefined ? [] : [arrived]);
  },
);

test("a HEAD has a length and no body", async () => {
  fixture.upstream.answer = (_request, response) => response.writeHead(200, { "Content-Length": "42" }).end();
  const stream = await openStream(fixture.target);
  stream.write(await head("HEAD /api", "Connection: close"));
  let text = "";
  stream.on("data", (chunk: Buffer) => {
    text += chunk.toString("latin1");
  });
  await once(stream, "close");
  expect(text).toMatch(/\r\nContent-Length: 42\r\n/);
  expect(text.endsWith("\r\n\r\n")).toBe(true);
});

test("a stream carries one request after another", async () => {
  const stream = await openStream(fixture.target);
  for (const target of ["/one", "/two", "/three"]) {
    stream.write(await head(`GET ${target}`));
    expect((await readAnswer(stream)).status).toBe(200);
  }
  stream.destroy();
  expect(fixture.upstream.requests.map((recorded) => recorded.target)).toEqual(["/one", "/two", "/three"]);
});

test("a body that breaks off at the apiserver breaks off at the caller", async () => {
  fixture.upstream.answer = (request, response) => {
    response.writeHead(200, { "Content-Type": "application/json" });
    response.write('{"items":[');
    setImmediate(() => request.socket.destroy());
  };
  const stream = await openStream(fixture.target);
  stream.write(await head("GET /api/v1/pods"));
  let text = "";
  stream.on("data", (chunk: Buffer) => {
    text += chunk.toString("latin1");
  });
  await once(stream, "close");
  expect(text).toContain('{"items":[');
  expect(text).not.toContain("\r\n0\r\n");
});

test("a body that breaks off at the caller breaks off at the apiserver", async () => {
  const stream = await openStream(fixture.target);
  stream.write(`${await head("POST /api/v1/namespaces/a/pods", "Content-Length: 1000000")}{"half":`);
  await expect.poll(() => fixture.upstream.requests.length).toBe(1);
  stream.destroy();
  await expect.poll(() => fixture.app.counts().underWay).toBe(0);
  expect(fixture.upstream.requests[0]?.body).toBe('{"half":');
});

test("Expect: 100-continue is answered once the caller is known, and does not pass", async () => {
  const stream = await openStream(fixture.target);
  stream.write(await head("POST /api", "Content-Length: 2", "Expect: 100-continue"));
  const [first] = await once(stream, "data");
  expect(String(first)).toBe("HTTP/1.1 100 Continue\r\n\r\n");
  stream.write("{}");
  expect((await readAnswer(stream)).status).toBe(200);
  stream.destroy();
  expect(namesOf(fixture.upstream.requests[0])).not.toContain("expect");
  expect(fixture.upstream.requests[0]?.body).toBe("{}");
});

test("a caller who is not let in gets no 100", async () => {
  const text = requestText("POST /api HTTP/1.1", ["Host: a", "Content-Length: 2", "Expect: 100-continue"]);
  const stream = await openStream(fixture.target);
  stream.write(text);
  const [first] = await once(stream, "data");
  expect(String(first)).toMatch(/^HTTP\/1\.1 401 /);
  stream.destroy();
});

test("an answer before the end of the request arrives, and the stream ends with it", async () => {
  const early = await createFixture({
    prepare: (upstream) => {
      upstream.answerEarly = (_request, response) => {
        response.writeHead(413, { "Content-Length": "3", Connection: "close" });
        response.end("big");
      };
    },
  });
  await using _ = early;
  const stream = await openStream(early.target);
  const token = await early.token();
  const lines = ["Host: a", `Authorization: Bearer ${token}`, "Content-Length: 10000000"];
  stream.write(`${requestText("POST /api HTTP/1.1", lines)}${"x".repeat(100_000)}`);
  const answer = await readAnswer(stream);
  expect(answer).toMatchObject({ status: 413, body: "big" });
  expect(answer.head).toMatch(/\r\nConnection: close/);
});

test("a service's own 401 is passed on when our token is good", async () => {
  fixture.upstream.answer = (request, response) => {
    const own = request.url === "/version";
    response.writeHead(own ? 200 : 401, { "WWW-Authenticate": "Basic", "Content-Length": "0" }).end();
  };
  const answer = await sendRaw(fixture.target, await head("GET /api/v1/namespaces/a/services/b/proxy/"));
  expect(answer.status).toBe(401);
  expect(answer.head).toContain("WWW-Authenticate: Basic");
});

test("a token of ours that was replaced is read anew and the request repeated", async () => {
  await writeFile(join(fixture.folder, "token"), "newer-token");
  fixture.upstream.answer = (request, response) => {
    const good = request.headers.authorization === "Bearer newer-token";
    response.writeHead(good ? 200 : 401, { "Content-Length": "2" }).end("{}");
  };
  expect((await sendRaw(fixture.target, await head("GET /api/v1/pods"))).status).toBe(200);
  const own = fixture.upstream.requests.filter(({ target }) => target === "/api/v1/pods");
  expect(own.map((recorded) => valuesOf(recorded, "authorization"))).toEqual([
    [`Bearer ${OWN_TOKEN}`],
    ["Bearer newer-token"],
  ]);
});

test("a small body is repeated with it", async () => {
  await using own = await createFixture();
  const first = requestText("GET /api HTTP/1.1", ["Host: a", `Authorization: Bearer ${await own.token()}`]);
  expect((await sendRaw(own.target, first)).status).toBe(200);
  await writeFile(join(own.folder, "token"), "newest-token");
  own.upstream.answer = (request, response) => {
    const good = request.headers.authorization === "Bearer newest-token";
    response.writeHead(good ? 201 : 401, { "Content-Length": "2" }).end("{}");
  };
  const lines = ["Host: a", `Authorization: Bearer ${await own.token()}`, "Content-Length: 8"];
  const text = requestText("POST /api/v1/namespaces/a/pods HTTP/1.1", lines, '{"a":12}');
  expect((await sendRaw(own.target, text)).status).toBe(201);
  const bodies = own.upstream.requests.filter(({ method }) => method === "POST").map(({ body }) => body);
  expect(bodies).toEqual(['{"a":12}', '{"a":12}']);
});

test("a small body that breaks off sends nothing to the apiserver", async () => {
  const stream = await openStream(fixture.target);
  stream.end(`${await head("POST /api/v1/namespaces/a/pods", "Content-Length: 100")}{"half":`);
  stream.resume();
  await once(stream, "close");
  expect(fixture.upstream.requests).toEqual([]);
});

test.each([
  [
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json",
    "text/plain; charset=utf-8",
  ],
  ["application/json, */*", "application/json"],
])("a refusal can be read by a client that accepts %s", async (accept, type) => {
  const answer = await sendRaw(fixture.target, await head("GET /apis", `Accept: ${accept}`, "Impersonate-User: bob"));
  expect(answer.status).toBe(403);
  expect(answer.head).toContain(`Content-Type: ${type}\r\n`);
  expect(answer.body).toContain("Acting as somebody else (--as) is off at this cluster (CC_IMPERSONATION_DENIED)");
});

test("our own bad token is never the caller's fault: 503", async () => {
  fixture.upstream.answer = (_request, response) => response.writeHead(401, { "Content-Length": "0" }).end();
  const answer = await sendRaw(fixture.target, await head("GET /api/v1/pods"));
  expect(answer.status).toBe(503);
  expect(answer.head).toMatch(/\r\nRetry-After: 1\r\n/);
});

test("an apiserver that is away is a 503 that says so", async () => {
  await using away = await createFixture();
  await away.upstream[Symbol.asyncDispose]();
  const lines = ["Host: a", `Authorization: Bearer ${await away.token()}`];
  const answer = await sendRaw(away.target, requestText("GET /api HTTP/1.1", lines));
  expect(answer.status).toBe(503);
  expect(JSON.parse(answer.body)).toMatchObject({
    kind: "Status",
    reason: "ServiceUnavailable",
    message: expect.stringContaining("CC_APISERVER_UNREACHABLE"),
  });
});
