import { expect, test } from "vitest";
import { assertOurIdentity } from "../attacks/harness.ts";
import { createFixture } from "../support/fixture.ts";
import { ask, openHttp2 } from "../support/http2-client.ts";
import { block, END_HEADERS, END_STREAM, FRAME, frame, openFrames, requestLines } from "../support/http2-frames.ts";

/** A whole request of HTTP/1.1 behind whichever text it is put in. */
const SMUGGLED = " HTTP/1.1\r\nImpersonate-User: admin\r\n\r\nDELETE /api/v1/namespaces/kube-system";

test.each([
  [":path", `/x${SMUGGLED}`],
  [":path", "/x\r\nimpersonate-user: admin"],
  [":path", "/x\timpersonate-user: admin"],
  [":path", "x"],
  [":path", "*"],
  [":path", ""],
  [":method", `GET /y${SMUGGLED}`],
  [":method", "GET\r\n"],
  [":method", "get"],
  [":method", ""],
  [":authority", "localhost\r\nimpersonate-user: admin"],
  [":authority", `localhost${SMUGGLED}`],
  [":scheme", "https\r\nimpersonate-user: admin"],
  [":scheme", "HTTP/1.1"],
])("a %s of %j reaches no apiserver over HTTP/1.1", async (name, value) => {
  await using fixture = await createFixture();
  const client = await openFrames(fixture.target);
  const usual = requestLines("GET", ["authorization", `Bearer ${await fixture.token()}`]);
  const lines = usual.map(([own, usually]) => [own, own === name ? value : usually] as const);
  client.write(frame(FRAME.headers, END_HEADERS | END_STREAM, 1, block(lines)));
  const ends: readonly number[] = [FRAME.headers, FRAME.rst, FRAME.goaway];
  await expect.poll(() => client.seen.some(({ type }) => ends.includes(type))).toBe(true);
  expect(fixture.upstream.requests).toEqual([]);
  client.socket.destroy();
});

test("a body that looks like the end of a body and another request stays one body", async () => {
  await using fixture = await createFixture();
  const session = await openHttp2(fixture.target);
  const body = `0\r\n\r\nDELETE /api/v1/namespaces/x HTTP/1.1\r\nHost: a\r\nImpersonate-User: admin\r\n\r\n`;
  for (const length of [[], ["content-length", String(body.length)]]) {
    const headers = ["authorization", `Bearer ${await fixture.token()}`, ...length];
    expect((await ask(session, { method: "POST", headers, body })).status).toBe(200);
  }
  expect(fixture.upstream.requests.map((recorded) => [recorded.method, recorded.body])).toEqual([
    ["POST", body],
    ["POST", body],
  ]);
  for (const recorded of fixture.upstream.requests) assertOurIdentity(recorded);
  session.destroy();
});
