import { once } from "node:events";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { createFixture, type Fixture } from "../support/fixture.ts";
import { openStream, requestText, sendRaw } from "../support/raw-client.ts";
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

/** UTF-8 as one character for each byte, as it is on the wire. */
const wire = (text: string): string => Buffer.from(text).toString("latin1");

async function send(line: string, lines: readonly string[] = [], body = ""): Promise<string> {
  const stream = await openStream(fixture.target);
  const all = ["Host: a", `Authorization: Bearer ${await fixture.token()}`, "Connection: close", ...lines];
  stream.write(requestText(`${line} HTTP/1.1`, all, body), "latin1");
  let text = "";
  stream.on("data", (chunk: Buffer) => {
    text += chunk.toString("latin1");
  });
  await once(stream, "close");
  return text;
}

const WARNING = wire('299 - "größe zu klein", 299 - "内存不足"');

test.each([
  ["GET", 200, "{}"],
  ["GET", 200, undefined],
  ["HEAD", 200, undefined],
  ["GET", 204, undefined],
  ["GET", 304, undefined],
  ["POST", 422, "no"],
])("an answer's header keeps its bytes (%s, %i, %s)", async (method, status, body) => {
  fixture.upstream.answer = (_request, response) => {
    response.writeHead(status, ["Warning", WARNING, "Content-Disposition", wire("attachment; filename=größe")]);
    if (method === "GET" && status === 200 && body === undefined) response.write(Buffer.alloc(0));
    response.end(body);
  };
  const answer = await send(`${method} /api/v1/pods`);
  expect(answer).toContain(`HTTP/1.1 ${status}`);
  expect(answer).toContain(`\r\nWarning: ${WARNING}\r\n`);
  expect(answer).toContain(`\r\nContent-Disposition: ${wire("attachment; filename=größe")}\r\n`);
});

test("the head of an answer is there before its body", async () => {
  fixture.upstream.answer = (_request, response) => {
    response.writeHead(200, ["Warning", WARNING]);
    response.flushHeaders();
  };
  const stream = await openStream(fixture.target);
  const lines = ["Host: a", `Authorization: Bearer ${await fixture.token()}`];
  stream.write(requestText("GET /api/v1/pods?watch=1 HTTP/1.1", lines));
  const [first] = await once(stream, "data");
  expect(String(first)).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  stream.destroy();
});

test("a target keeps its spelling, and one with raw bytes is refused in so many words", async () => {
  const target = "/api/v1/namespaces/a/services/b/proxy/gr%C3%B6%C3%9fe%2F..%2f?q=%E5%86%85;&&=+%20";
  await send(`GET ${target}`);
  expect(fixture.upstream.requests[0]?.target).toBe(target);
  const answer = Buffer.from(await send(`GET ${wire("/api/v1/größe")}`), "latin1").toString();
  expect(answer).toMatch(/^HTTP\/1\.1 400 /);
  expect(answer).toContain("a byte that has to be percent-encoded, such as %C3%B6 for ö (CC_REQUEST_REFUSED)");
  expect(fixture.upstream.requests).toHaveLength(1);
});

test("trailers pass both ways, and none that says who is calling", async () => {
  fixture.upstream.answer = (request, response) => {
    response.writeHead(200, { Trailer: "X-Sum", "Content-Type": "text/plain" });
    response.write(JSON.stringify(request.rawTrailers));
    response.addTrailers([
      ["X-Sum", "42"],
      ["X-Remote-User", "root"],
    ]);
    response.end();
  };
  const body = "2\r\nhi\r\n0\r\nX-Ask: 7\r\nImpersonate-User: admin\r\nAuthorization: x\r\n\r\n";
  const answer = await send("POST /api/v1/namespaces/a/services/b/proxy/", ["Transfer-Encoding: chunked"], body);
  expect(answer).toContain('["X-Ask","7"]');
  expect(answer).toContain("\r\nX-Sum: 42\r\n");
  expect(answer).not.toContain("X-Remote-User");
});

test("a cookie passes to the application behind a proxied service, and its answer's comes back", async () => {
  fixture.upstream.answer = (_request, response) =>
    response.writeHead(200, ["Set-Cookie", "s=2", "Set-Cookie", "t=3"]).end();
  const answer = await send("GET /api/v1/namespaces/a/services/b/proxy/", ["Cookie: s=1", "X-Remote-User: root"]);
  expect(valuesOf(fixture.upstream.requests[0], "cookie")).toEqual(["s=1"]);
  expect(namesOf(fixture.upstream.requests[0])).not.toContain("x-remote-user");
  expect(answer).toContain("Set-Cookie: s=2\r\nSet-Cookie: t=3\r\n");
});

test("a 401 of ours begins with the word that clients look for", async () => {
  const answer = await sendRaw(fixture.target, requestText("GET /api HTTP/1.1", ["Host: a"]));
  expect(JSON.parse(answer.body).message).toMatch(/^Unauthorized: /);
});
