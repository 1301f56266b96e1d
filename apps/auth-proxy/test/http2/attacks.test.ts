import { once } from "node:events";
import { expect, test } from "vitest";
import {
  HEADERS_TIMEOUT_MS,
  HTTP2_HEAD_BYTES,
  HTTP2_RESETS,
  KEEP_ALIVE_MS,
  MAX_HEADER_LINES,
} from "../../src/limits/limits.ts";
import { assertOurIdentity } from "../attacks/harness.ts";
import { createFixture, type Fixture } from "../support/fixture.ts";
import { ask, openAlpn, openHttp2 } from "../support/http2-client.ts";
import {
  block,
  END_HEADERS,
  END_STREAM,
  FRAME,
  type FrameClient,
  frame,
  openFrames,
  requestLines,
} from "../support/http2-frames.ts";
import { valuesOf } from "../support/recording-upstream.ts";
import { steppedClock } from "../support/stepped-clock.ts";

type Line = readonly [string, string];

const PROTOCOL_ERROR = 1;
const COMPRESSION_ERROR = 9;
const ENHANCE_YOUR_CALM = 11;
/** Longest string that the parser takes in a block, and longest frame that is sent here. */
const HPACK_STRING = 65_536;
const FRAME_BYTES = 16_384;

async function bearer(fixture: Fixture): Promise<Line> {
  return ["authorization", `Bearer ${await fixture.token()}`];
}

const lastLine = (fixture: Fixture): Readonly<Record<string, unknown>> | undefined =>
  fixture.log.lines.filter(({ event }) => event === "request").at(-1);

/** Sends one request of a whole head, and waits for a frame that answers it. */
async function send(client: FrameClient, lines: readonly Line[], flags = END_HEADERS | END_STREAM): Promise<number[]> {
  client.write(frame(FRAME.headers, flags, 1, block(lines)));
  const answers: readonly number[] = [FRAME.headers, FRAME.rst, FRAME.goaway];
  await expect.poll(() => client.seen.some(({ type }) => answers.includes(type))).toBe(true);
  const found = client.seen.find(({ type }) => answers.includes(type));
  return [found?.type ?? -1, found?.code ?? 0];
}

test.each<[string, Line]>([
  ["a control character in the user to act as", ["impersonate-user", "a\x01b"]],
  ["a NUL in it", ["impersonate-user", "a\0b"]],
  ["a line end in it", ["impersonate-user", "a\r\nx-remote-user: admin"]],
  ["a blank before it", ["impersonate-user", " admin"]],
  ["a blank behind it", ["impersonate-user", "admin "]],
  ["a deleted character in it", ["impersonate-user", "a\x7f"]],
  ["a blank in the name", ["impersonate user", "admin"]],
  ["a parenthesis in the name", ["x(y", "1"]],
  ["an empty name", ["", "1"]],
  ["Host beside another :authority", ["host", "other"]],
])("refuses %s with an answer, where the parser would have dropped the line", async (_what, line) => {
  await using fixture = await createFixture();
  const client = await openFrames(fixture.target);
  expect(await send(client, requestLines("GET", await bearer(fixture), line))).toEqual([FRAME.headers, 0]);
  expect(fixture.upstream.requests).toEqual([]);
  expect(lastLine(fixture)).toMatchObject({ status: 400, code: "CC_REQUEST_REFUSED", path: "/x" });
  client.socket.destroy();
});

const usual: readonly Line[] = requestLines("GET");
const without = (name: string): readonly Line[] => usual.filter(([own]) => own !== name);

test.each<[string, readonly Line[]]>([
  ["an upper-case name", [...usual, ["Impersonate-User", "admin"]]],
  ["an upper-case letter in a name", [...usual, ["x-Remote-user", "admin"]]],
  ["Connection", [...usual, ["connection", "impersonate-user"]]],
  ["Keep-Alive", [...usual, ["keep-alive", "1"]]],
  ["Proxy-Connection", [...usual, ["proxy-connection", "close"]]],
  ["Transfer-Encoding", [...usual, ["transfer-encoding", "chunked"]]],
  ["Upgrade", [...usual, ["upgrade", "websocket"]]],
  ["a TE that is not trailers", [...usual, ["te", "gzip"]]],
  ["two methods", [[":method", "GET"], ...usual]],
  ["two targets", [...usual, [":path", "/other"]]],
  ["a pseudo-header behind a line", [...without(":path"), ["x", "y"], [":path", "/x"]]],
  ["an unknown pseudo-header", [[":user", "admin"], ...usual]],
  ["a status in a request", [[":status", "200"], ...usual]],
  ["no method", without(":method")],
  ["no authority", without(":authority")],
  ["no target", without(":path")],
  ["a blank in the target", [...without(":path"), [":path", "/x y"]]],
  ["two lengths", [...usual, ["content-length", "1"], ["content-length", "2"]]],
  ["a length and no body", [...usual, ["content-length", "5"]]],
  ["extended CONNECT", [...requestLines("CONNECT"), [":protocol", "websocket"]]],
  ["CONNECT with a target", requestLines("CONNECT")],
])("resets a stream with %s", async (_what, lines) => {
  await using fixture = await createFixture();
  const client = await openFrames(fixture.target);
  expect(await send(client, [...lines, await bearer(fixture)])).toEqual([FRAME.rst, PROTOCOL_ERROR]);
  expect(fixture.upstream.requests).toEqual([]);
  client.socket.destroy();
});

test.each<[string, readonly Line[]]>([
  [
    "CONNECT",
    [
      [":method", "CONNECT"],
      [":authority", "localhost:443"],
    ],
  ],
  ["another scheme", [...without(":scheme"), [":scheme", "http"]]],
  ["a target with two slashes", [...without(":path"), [":path", "//x"]]],
  ["an absolute target", [...without(":path"), [":path", "/a#b"]]],
  ["TRACE", requestLines("TRACE")],
  ["two tokens", [...usual, ["authorization", "Bearer x"]]],
  ["two users to act as", [...usual, ["impersonate-user", "a"], ["impersonate-user", "b"]]],
  ["too many lines", [...usual, ...Array.from({ length: MAX_HEADER_LINES }, (): Line => ["x", "y"])]],
])("answers %s with 400", async (_what, lines) => {
  await using fixture = await createFixture();
  const client = await openFrames(fixture.target);
  expect(await send(client, [...lines, await bearer(fixture)])).toEqual([FRAME.headers, 0]);
  expect(fixture.upstream.requests).toEqual([]);
  expect(lastLine(fixture)).toMatchObject({ status: 400, code: "CC_REQUEST_REFUSED" });
  client.socket.destroy();
});

test.each([
  "impersonate_user",
  "impersonate-uid_",
  "x_remote_user",
  "x-remote-group",
  "x_forwarded_for",
  "forwarded",
  "x-real-ip",
  "audit-id",
  "x-client-cert-user",
  "proxy-authorization",
])("a caller's %s says nothing, and is not passed on", async (name) => {
  await using fixture = await createFixture();
  const session = await openHttp2(fixture.target);
  const acts = name.startsWith("impersonate");
  const answer = await ask(session, { headers: [...(await bearer(fixture)), name, "admin", "te", "trailers"] });
  expect(answer.status).toBe(acts ? 403 : 200);
  for (const recorded of fixture.upstream.requests) {
    assertOurIdentity(recorded);
    expect(valuesOf(recorded, "te")).toEqual(["trailers"]);
  }
  session.destroy();
});

test.each([
  ["shorter than the body", "2", "12345"],
  ["longer than the body", "9", "12345"],
])("a length that is %s sends the apiserver no request that looks complete", async (_what, length, body) => {
  await using fixture = await createFixture();
  const client = await openFrames(fixture.target);
  const lines = requestLines("POST", await bearer(fixture), ["content-length", length]);
  client.write(frame(FRAME.headers, END_HEADERS, 1, block(lines)), frame(FRAME.data, END_STREAM, 1, Buffer.from(body)));
  const ends: readonly number[] = [FRAME.rst, FRAME.goaway];
  await expect.poll(() => client.seen.some(({ type, code }) => ends.includes(type) && code !== 0)).toBe(true);
  expect(fixture.upstream.requests).toEqual([]);
  client.socket.destroy();
});

test("text of HTTP/1.1 on a connection of HTTP/2 ends it, and the other way round", async () => {
  await using fixture = await createFixture();
  const smuggled = `GET / HTTP/1.1\r\nHost: a\r\n${(await bearer(fixture)).join(": ")}\r\n\r\n`;
  const http2 = await openAlpn(fixture.target, ["h2"]);
  http2.write(smuggled);
  http2.resume();
  await once(http2, "close");
  const http1 = await openAlpn(fixture.target, ["http/1.1"]);
  http1.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  http1.resume();
  await once(http1, "close");
  expect(fixture.upstream.requests).toEqual([]);
});

test("a head as long as is told passes, and a longer one is refused", async () => {
  await using fixture = await createFixture();
  const token = await bearer(fixture);
  const size = [...usual, token, ["x", ""] as const].reduce((sum, line) => sum + line.join("").length + 32, 0);
  const long = (bytes: number): readonly Line[] => [...usual, token, ["x", "a".repeat(bytes - size)]];
  const parts = (bytes: number): Buffer[] => {
    const whole = block(long(bytes));
    const count = Math.ceil(whole.length / 16_384);
    return Array.from({ length: count }, (_, index) =>
      frame(
        index === 0 ? FRAME.headers : FRAME.continuation,
        (index === 0 ? END_STREAM : 0) | (index === count - 1 ? END_HEADERS : 0),
        1,
        whole.subarray(index * 16_384, (index + 1) * 16_384),
      ),
    );
  };
  const fits = await openFrames(fixture.target);
  fits.write(...parts(HTTP2_HEAD_BYTES));
  await fits.until(FRAME.headers);
  expect(fixture.upstream.requests.length).toBe(1);
  const tooLong = await openFrames(fixture.target);
  tooLong.write(...parts(HTTP2_HEAD_BYTES + 1));
  await tooLong.until(FRAME.headers);
  expect(fixture.upstream.requests.length).toBe(1);
  expect(lastLine(fixture)).toMatchObject({ status: 400, code: "CC_REQUEST_REFUSED" });
  fits.socket.destroy();
  tooLong.socket.destroy();
});

test("a line above the bound of HPACK ends its connection with a word, and no other", async () => {
  await using fixture = await createFixture();
  const other = await openHttp2(fixture.target);
  const client = await openFrames(fixture.target);
  const whole = block([...usual, await bearer(fixture), ["x", "a".repeat(HPACK_STRING + 1)]]);
  client.write(frame(FRAME.headers, END_STREAM, 1, whole.subarray(0, FRAME_BYTES)));
  for (let from = FRAME_BYTES; from < whole.length; from += FRAME_BYTES) {
    const last = from + FRAME_BYTES >= whole.length;
    client.write(frame(FRAME.continuation, last ? END_HEADERS : 0, 1, whole.subarray(from, from + FRAME_BYTES)));
  }
  expect(await client.until(FRAME.goaway)).toMatchObject({ code: COMPRESSION_ERROR });
  await expect.poll(() => client.socket.closed).toBe(true);
  expect(fixture.upstream.requests).toEqual([]);
  expect((await ask(other, { headers: await bearer(fixture) })).status).toBe(200);
  other.destroy();
});

test("CVE-2024-27983: CONTINUATION without an end closes its connection, and no other", async () => {
  await using fixture = await createFixture();
  const other = await openHttp2(fixture.target);
  const client = await openFrames(fixture.target);
  client.write(frame(FRAME.headers, END_STREAM, 1, block(usual)));
  for (let count = 0; count < 50; count += 1) client.write(frame(FRAME.continuation, 0, 1, block([["x", "y"]])));
  await client.until(FRAME.goaway);
  await expect.poll(() => client.socket.closed).toBe(true);
  expect((await ask(other, { headers: await bearer(fixture) })).status).toBe(200);
  other.destroy();
});

test("CVE-2023-44487: more resets than are allowed close the connection, and no other; so many do not", async () => {
  await using fixture = await createFixture();
  const other = await openHttp2(fixture.target);
  const opened = block(usual);
  const reset = async (count: number): Promise<FrameClient> => {
    const client = await openFrames(fixture.target);
    for (let at = 0; at < count; at += 1) {
      const id = 2 * at + 1;
      client.write(frame(FRAME.headers, END_HEADERS, id, opened), frame(FRAME.rst, 0, id, Buffer.from([0, 0, 0, 8])));
    }
    client.write(frame(FRAME.ping, 0, 0, Buffer.alloc(8)));
    return client;
  };
  const allowed = await reset(HTTP2_RESETS);
  expect(await allowed.until(FRAME.ping)).toBeDefined();
  expect(allowed.socket.closed).toBe(false);
  const flood = await reset(3 * HTTP2_RESETS);
  expect(await flood.until(FRAME.goaway)).toBeDefined();
  await expect.poll(() => flood.socket.closed).toBe(true);
  expect((await ask(other, { headers: await bearer(fixture) })).status).toBe(200);
  await expect.poll(() => fixture.app.counts().underWay).toBe(0);
  allowed.socket.destroy();
  other.destroy();
});

test("a head that takes too long ends its connection, and so does one that never comes", async () => {
  const clock = steppedClock(Date.now());
  await using fixture = await createFixture({ clock });
  const slow = await openFrames(fixture.target);
  slow.write(frame(FRAME.headers, END_STREAM, 1, block(usual)), frame(FRAME.continuation, 0, 1));
  const silent = await openFrames(fixture.target);
  await silent.until(FRAME.settings);
  await slow.until(FRAME.settings);
  await expect.poll(() => fixture.app.counts().streams).toBe(2);
  await clock.pass(HEADERS_TIMEOUT_MS - 1);
  expect([slow.socket.closed, silent.socket.closed]).toEqual([false, false]);
  await clock.pass(1);
  expect(await slow.until(FRAME.goaway)).toMatchObject({ code: ENHANCE_YOUR_CALM });
  expect(await silent.until(FRAME.goaway)).toMatchObject({ code: 0 });
  expect(fixture.log.lines).toContainEqual(expect.objectContaining({ status: 408 }));
});

test("a connection without a stream ends after a while, and one with a stream goes on", async () => {
  const clock = steppedClock(Date.now());
  await using fixture = await createFixture({ clock });
  const idle = await openFrames(fixture.target);
  await send(idle, usual);
  await expect.poll(() => idle.seen.some(({ flags, type }) => type === FRAME.data && flags === END_STREAM)).toBe(true);
  fixture.upstream.answer = () => {};
  const busy = await openFrames(fixture.target);
  busy.write(frame(FRAME.headers, END_HEADERS | END_STREAM, 1, block([...usual, await bearer(fixture)])));
  await expect.poll(() => fixture.upstream.requests.length).toBe(1);
  await clock.pass(KEEP_ALIVE_MS);
  expect(await idle.until(FRAME.goaway)).toMatchObject({ code: 0 });
  expect(busy.socket.closed).toBe(false);
  busy.socket.destroy();
});
