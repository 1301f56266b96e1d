import { once } from "node:events";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { MAX_HEADER_BYTES } from "../../src/limits/limits.ts";
import { createFixture, type Fixture } from "../support/fixture.ts";
import { openStream, requestText, sendRaw } from "../support/raw-client.ts";
import { valuesOf } from "../support/recording-upstream.ts";
import { assertOurIdentity, expectOurIdentity, expectRefused } from "./harness.ts";

let fixture: Fixture;
beforeAll(async () => {
  fixture = await createFixture();
});
afterAll(() => fixture?.[Symbol.asyncDispose]());
beforeEach(() => {
  fixture.upstream.requests.splice(0);
});

const HEAD = "POST /api/v1/namespaces/a/pods HTTP/1.1";
/** A second request that an attacker would like the apiserver to see. */
const SMUGGLED = "GET /api/v1/secrets HTTP/1.1\r\nHost: x\r\nImpersonate-User: system:admin\r\n\r\n";

async function send(bytes: (authorization: string) => string): Promise<Awaited<ReturnType<typeof sendRaw>>> {
  return sendRaw(fixture.target, bytes(`Authorization: Bearer ${await fixture.token()}`));
}

const REFUSED: Readonly<Record<string, (authorization: string) => string>> = {
  "Content-Length and Transfer-Encoding (CL.TE)": (auth) =>
    requestText(HEAD, ["Host: a", auth, "Content-Length: 6", "Transfer-Encoding: chunked"], `0\r\n\r\n${SMUGGLED}`),
  "Transfer-Encoding and Content-Length (TE.CL)": (auth) =>
    requestText(HEAD, ["Host: a", auth, "Transfer-Encoding: chunked", "Content-Length: 4"], `5\r\nhello\r\n0\r\n\r\n`),
  "Content-Length twice, equal": (auth) =>
    requestText(HEAD, ["Host: a", auth, "Content-Length: 2", "Content-Length: 2"], "{}"),
  "Content-Length twice, different": (auth) =>
    requestText(HEAD, ["Host: a", auth, "Content-Length: 2", "Content-Length: 60"], `{}${SMUGGLED}`),
  "Content-Length as a list": (auth) => requestText(HEAD, ["Host: a", auth, "Content-Length: 2, 2"], "{}"),
  "Content-Length with a sign": (auth) => requestText(HEAD, ["Host: a", auth, "Content-Length: +2"], "{}"),
  "Content-Length in hex": (auth) => requestText(HEAD, ["Host: a", auth, "Content-Length: 0x2"], "{}"),
  "Transfer-Encoding gzip, chunked": (auth) =>
    requestText(HEAD, ["Host: a", auth, "Transfer-Encoding: gzip, chunked"], "0\r\n\r\n"),
  "Transfer-Encoding identity": (auth) => requestText(HEAD, ["Host: a", auth, "Transfer-Encoding: identity"], "{}"),
  "Transfer-Encoding twice": (auth) =>
    requestText(HEAD, ["Host: a", auth, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], "0\r\n\r\n"),
  "Transfer-Encoding with a vertical tab": (auth) =>
    requestText(HEAD, ["Host: a", auth, "Transfer-Encoding: \x0bchunked"], "0\r\n\r\n"),
  "a folded line": (auth) => requestText(HEAD, ["Host: a", auth, "X-A: 1\r\n Impersonate-User: x"], ""),
  "a bare CR in a value": (auth) => requestText(HEAD, ["Host: a", auth, "X-A: 1\rImpersonate-User: x"], ""),
  "a bare LF after a value": (auth) => requestText(HEAD, ["Host: a", auth, "X-A: 1\nImpersonate-User: x"], ""),
  "a NUL in a value": (auth) => requestText(HEAD, ["Host: a", auth, "X-A: 1\x002"], ""),
  "a blank before the colon": (auth) => requestText(HEAD, ["Host: a", auth, "Impersonate-User : x"], ""),
  "a blank before a name": (auth) => requestText(HEAD, ["Host: a", auth, " Impersonate-User: x"], ""),
  "a name that is not ASCII": (auth) => requestText(HEAD, ["Host: a", auth, "\xcempersonate-User: x"], ""),
  "no name": (auth) => requestText(HEAD, ["Host: a", auth, ": x"], ""),
  "HTTP/1.0": (auth) => requestText(HEAD.replace("1.1", "1.0"), ["Host: a", auth]),
  "HTTP/0.9": (auth) => requestText(HEAD.replace("1.1", "0.9"), ["Host: a", auth]),
  "HTTP/2.0 in the request line": (auth) => requestText(HEAD.replace("1.1", "2.0"), ["Host: a", auth]),
  "the preface of HTTP/2": () => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  "no Host": (auth) => requestText(HEAD, [auth]),
  "Host twice": (auth) => requestText(HEAD, ["Host: a", "Host: b", auth]),
  "Authorization twice": (auth) => requestText(HEAD, ["Host: a", auth, auth]),
  "Authorization twice in other case": (auth) => requestText(HEAD, ["Host: a", auth, "AUTHORIZATION: Bearer x"]),
  "1,001 header lines": (auth) => requestText(HEAD, ["Host: a", auth, ...new Array<string>(1_001).fill("X-A: 1")]),
  "257 header lines": (auth) => requestText(HEAD, ["Host: a", auth, ...new Array<string>(255).fill("X-A: 1")]),
  "an unknown method": (auth) => requestText("TRACE / HTTP/1.1", ["Host: a", auth]),
};

test.each(Object.entries(REFUSED))("refuses %s before the apiserver sees anything", async (_name, bytes) => {
  const answer = await send(bytes);
  expectRefused(fixture, answer, 400);
  expect(answer.head).toMatch(/\r\nConnection: close(\r\n|$)/i);
  expect(JSON.parse(answer.body)).toMatchObject({ kind: "Status", reason: "BadRequest" });
});

test("refuses a head above the limit with 431", async () => {
  const answer = await send((auth) => requestText(HEAD, ["Host: a", auth, `X-A: ${"a".repeat(MAX_HEADER_BYTES)}`]));
  expectRefused(fixture, answer, 431);
});

test("refuses CONNECT with 405", async () => {
  expectRefused(fixture, await send((auth) => requestText("CONNECT a:443 HTTP/1.1", ["Host: a", auth])), 405);
});

describe("request targets", () => {
  test.each([
    "http://169.254.169.254/latest/meta-data",
    "https://kubernetes.default.svc/api",
    "//evil.example/api",
    "///api",
    "*",
    "api/v1",
    "/api/v1#/secrets",
    "/api\tv1",
    "/api/\xff",
  ])("refuses %s", async (target) => {
    expectRefused(fixture, await send((auth) => requestText(`GET ${target} HTTP/1.1`, ["Host: a", auth])), 400);
  });

  test.each([
    "/",
    "/api/v1/namespaces/../secrets",
    "/api/v1/namespaces/%2e%2e/secrets",
    "/api/v1//pods",
    "/api/v1/pods?labelSelector=a%20in%20(b)&x=//y",
    "/api/v1/namespaces/a/services/http:b:80/proxy/c%2Fd;e=f",
    '/a\\b"<>^`{|}',
    "/api/v1/pods??x=1",
  ])("passes %s byte for byte", async (target) => {
    await send((auth) => requestText(`GET ${target} HTTP/1.1`, ["Host: a", auth]));
    expect(expectOurIdentity(fixture).target).toBe(target);
  });
});

test("chunk extensions and trailers end here: the apiserver gets a body of our own framing", async () => {
  const body =
    "3;a=b\r\nabc\r\n2;Impersonate-User=x\r\nde\r\n0\r\nImpersonate-User: system:admin\r\nAuthorization: x\r\n\r\n";
  await send((auth) =>
    requestText(HEAD, ["Host: a", auth, "Transfer-Encoding: chunked", "Trailer: Impersonate-User"], body),
  );
  const recorded = expectOurIdentity(fixture);
  expect(recorded.body).toBe("abcde");
  expect(valuesOf(recorded, "transfer-encoding")).toEqual(["chunked"]);
  expect(valuesOf(recorded, "trailer")).toEqual([]);
});

test.each(["POST", "PUT", "PATCH", "DELETE"])("a %s without a body says so to the apiserver", async (method) => {
  await send((auth) => requestText(`${method} /api/v1/namespaces/a/pods/b HTTP/1.1`, ["Host: a", auth]));
  expect(valuesOf(expectOurIdentity(fixture), "content-length")).toEqual(["0"]);
});

test("the body of a DELETE is framed, so that nothing in it becomes a request", async () => {
  await send((auth) =>
    requestText(
      "DELETE /api/v1/namespaces/a/pods/b HTTP/1.1",
      ["Host: a", auth, `Content-Length: ${SMUGGLED.length}`],
      SMUGGLED,
    ),
  );
  const recorded = expectOurIdentity(fixture);
  expect(recorded.body).toBe(SMUGGLED);
  expect(valuesOf(recorded, "content-length")).toEqual([String(SMUGGLED.length)]);
});

test("the body of a GET is framed too", async () => {
  await send((auth) => requestText("GET /api HTTP/1.1", ["Host: a", auth, "Content-Length: 5"], "hello"));
  const recorded = expectOurIdentity(fixture);
  expect(recorded.body).toBe("hello");
  expect(valuesOf(recorded, "content-length")).toEqual(["5"]);
});

test("two requests in one write are two requests, each with our identity", async () => {
  const token = await fixture.token();
  const one = requestText("GET /one HTTP/1.1", ["Host: a", `Authorization: Bearer ${token}`]);
  const two = requestText("GET /two HTTP/1.1", ["Host: a", `Authorization: Bearer ${token}`, "Connection: close"]);
  const stream = await openStream(fixture.target);
  stream.resume().write(one + two);
  await once(stream, "close");
  expect(fixture.upstream.requests.map(({ target }) => target)).toEqual(["/one", "/two"]);
  for (const recorded of fixture.upstream.requests) assertOurIdentity(recorded);
});
