import { once } from "node:events";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { createFixture, type Fixture } from "../support/fixture.ts";
import { openStream, readAnswer, requestText, sendRaw } from "../support/raw-client.ts";
import { namesOf, valuesOf } from "../support/recording-upstream.ts";
import { attack, expectOurIdentity, expectRefused } from "./harness.ts";

let fixture: Fixture;
beforeAll(async () => {
  fixture = await createFixture();
});
afterAll(() => fixture?.[Symbol.asyncDispose]());
beforeEach(() => {
  fixture.upstream.requests.splice(0);
});

const BEARER_ITEM = "base64url.bearer.authorization.k8s.io.";

test.each(["h2c", "HTTP/2.0", "TLS/1.0", "websocket, h2c", "SPDY/3", "spdy/3.1\x0b"])(
  "refuses an upgrade to %s",
  async (protocol) => {
    expectRefused(fixture, await attack(fixture, "upgrade", { headers: ["HTTP2-Settings: AAMAAABk"], protocol }), 400);
  },
);

test("an upgrade behind a request that is not answered yet ends the stream, and neither gets the other's answer", async () => {
  let answer = (): void => undefined;
  const { answer: usual } = fixture.upstream;
  fixture.upstream.answer = (_request, response) => {
    answer = () => void response.end("{}");
  };
  const lines = ["Host: a", `Authorization: Bearer ${await fixture.token()}`];
  const upgrade = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: eA=="];
  const stream = await openStream(fixture.target);
  const received: Buffer[] = [];
  stream.on("data", (chunk: Buffer) => received.push(chunk));
  stream.write(requestText("GET /api/v1/pods HTTP/1.1", lines));
  await expect.poll(() => fixture.upstream.requests.length).toBe(1);
  const closed = once(stream, "close");
  stream.write(requestText("GET /api/v1/namespaces/a/pods/b/exec HTTP/1.1", [...lines, ...upgrade]));
  await closed;
  answer();
  fixture.upstream.answer = usual;
  expect(Buffer.concat(received).toString("latin1")).toBe("");
  expect(fixture.upstream.requests.map(({ target }) => target)).toEqual(["/api/v1/pods"]);
});

test("an upgrade behind a request that was answered goes on as ever", async () => {
  const lines = ["Host: a", `Authorization: Bearer ${await fixture.token()}`];
  const upgrade = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: eA=="];
  const stream = await openStream(fixture.target);
  stream.write(requestText("GET /api/v1/pods HTTP/1.1", lines));
  expect((await readAnswer(stream)).status).toBe(200);
  stream.write(requestText("GET /api/v1/namespaces/a/pods/b/exec HTTP/1.1", [...lines, ...upgrade]));
  expect((await readAnswer(stream)).status).toBe(101);
  stream.destroy();
});

test("refuses two Upgrade headers", async () => {
  expectRefused(fixture, await attack(fixture, "upgrade", { headers: ["Upgrade: h2c"] }), 400);
});

test.each(["Content-Length: 3", "Transfer-Encoding: chunked"])(
  "refuses an upgrade with a body (%s)",
  async (framing) => {
    const answer = await attack(fixture, "upgrade", {
      headers: [framing],
      method: "POST",
      protocol: "SPDY/3.1",
      body: "abc",
    });
    expectRefused(fixture, answer, 400);
  },
);

test("refuses a WebSocket that begins with POST", async () => {
  expectRefused(fixture, await attack(fixture, "upgrade", { headers: ["Content-Length: 0"], method: "POST" }), 400);
});

test("an Upgrade header that Connection does not name is no upgrade and does not pass", async () => {
  await attack(fixture, "plain", { headers: ["Upgrade: websocket"] });
  expect(namesOf(expectOurIdentity(fixture))).not.toContain("upgrade");
});

test("the token in Sec-WebSocket-Protocol is a credential that goes no further", async () => {
  const item = BEARER_ITEM + Buffer.from(await fixture.token()).toString("base64url");
  const lines = [
    "Host: a",
    "Connection: Upgrade",
    "Upgrade: websocket",
    `Sec-WebSocket-Protocol: v5.channel.k8s.io, ${item}`,
  ];
  const answer = await sendRaw(fixture.target, requestText("GET /api/v1/namespaces/a/pods/b/exec HTTP/1.1", lines));
  expect(answer.status).toBe(101);
  const recorded = expectOurIdentity(fixture);
  expect(valuesOf(recorded, "sec-websocket-protocol")).toEqual(["v5.channel.k8s.io"]);
  expect(JSON.stringify(recorded)).not.toContain(item);
  expect(JSON.stringify(fixture.log.lines)).not.toContain(item.slice(BEARER_ITEM.length));
});

test("a header that held nothing but the token is dropped", async () => {
  const item = BEARER_ITEM + Buffer.from(await fixture.token()).toString("base64url");
  const lines = ["Host: a", "Connection: Upgrade", "Upgrade: websocket", `Sec-WebSocket-Protocol: ${item}`];
  await sendRaw(fixture.target, requestText("GET /api HTTP/1.1", lines));
  expect(namesOf(expectOurIdentity(fixture))).not.toContain("sec-websocket-protocol");
});

test("refuses a token in both places", async () => {
  const item = BEARER_ITEM + Buffer.from(await fixture.token()).toString("base64url");
  expectRefused(fixture, await attack(fixture, "upgrade", { headers: [`Sec-WebSocket-Protocol: a, ${item}`] }), 400);
});

test("a token in Sec-WebSocket-Protocol is none on an ordinary request, and still goes no further", async () => {
  const item = BEARER_ITEM + Buffer.from(await fixture.token()).toString("base64url");
  const lines = ["Host: a", `Sec-WebSocket-Protocol: a, ${item}`];
  expectRefused(fixture, await sendRaw(fixture.target, requestText("GET /api HTTP/1.1", lines)), 401);
  await attack(fixture, "plain", { headers: [`Sec-WebSocket-Protocol: a, ${item}`] });
  expect(valuesOf(expectOurIdentity(fixture), "sec-websocket-protocol")).toEqual(["a"]);
});

test("an apiserver that switches to another protocol than asked for is not believed", async () => {
  fixture.upstream.answerUpgrade = (_request, socket) => {
    socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
  };
  const answer = await attack(fixture, "upgrade", { headers: [] });
  expect(answer.status).toBe(503);
  expect(answer.body).toContain("another protocol");
});
