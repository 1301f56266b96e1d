import { once } from "node:events";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { createFixture, type Fixture } from "../support/fixture.ts";
import { openStream, readAnswer, requestText, sendRaw } from "../support/raw-client.ts";
import { valuesOf } from "../support/recording-upstream.ts";

let fixture: Fixture;
let usualUpgrade: Fixture["upstream"]["answerUpgrade"];
beforeAll(async () => {
  fixture = await createFixture();
  usualUpgrade = fixture.upstream.answerUpgrade;
});
afterAll(() => fixture?.[Symbol.asyncDispose]());
beforeEach(() => {
  fixture.upstream.requests.splice(0);
  fixture.upstream.answerUpgrade = usualUpgrade;
});

const EXEC = "/api/v1/namespaces/a/pods/b/exec?command=ls&stdin=true";

async function upgradeText(protocol: string, method = "GET", headers: readonly string[] = []): Promise<string> {
  const lines = [
    "Host: a",
    `Authorization: Bearer ${await fixture.token()}`,
    "Connection: Upgrade",
    `Upgrade: ${protocol}`,
  ];
  return requestText(`${method} ${EXEC} HTTP/1.1`, [...lines, ...headers]);
}

test.each([
  ["SPDY/3.1", "POST"],
  ["websocket", "GET"],
])("%s passes bytes both ways after the apiserver's 101", async (protocol, method) => {
  const stream = await openStream(fixture.target);
  stream.write(await upgradeText(protocol, method, ["X-Stream-Protocol-Version: v4.channel.k8s.io"]));
  const answer = await readAnswer(stream);
  expect(answer.status).toBe(101);
  expect(answer.head).toContain(`Upgrade: ${protocol}`);
  expect(answer.head).toContain("X-Test: 1");
  stream.write("ping");
  const [echo] = await once(stream, "data");
  expect(String(echo)).toBe("ping");
  stream.destroy();
  expect(fixture.upstream.requests[0]).toMatchObject({ target: EXEC, upgrade: true });
  expect(valuesOf(fixture.upstream.requests[0], "connection")).toEqual(["Upgrade"]);
  expect(valuesOf(fixture.upstream.requests[0], "upgrade")).toEqual([protocol]);
});

test("a real WebSocket client talks to a real WebSocket server, its subprotocol and large messages included", async () => {
  const server = new WebSocketServer({ noServer: true, handleProtocols: () => "v5.channel.k8s.io" });
  fixture.upstream.answerUpgrade = (request, socket, head) => {
    server.handleUpgrade(request, socket, head, (webSocket) => {
      webSocket.on("message", (bytes, isBinary) => webSocket.send(bytes, { binary: isBinary }));
    });
  };
  const stream = await openStream(fixture.target);
  const client = new WebSocket(`wss://localhost:${fixture.target.port}${EXEC}`, ["v5.channel.k8s.io"], {
    headers: { Authorization: `Bearer ${await fixture.token()}` },
    createConnection: () => stream,
  });
  await once(client, "open");
  expect(client.protocol).toBe("v5.channel.k8s.io");
  const sent = Buffer.alloc(3_000_000, 7);
  client.send(sent);
  const [received] = await once(client, "message");
  expect(Buffer.compare(received, sent)).toBe(0);
  client.close(1000, "done");
  const [code] = await once(client, "close");
  expect(code).toBe(1000);
});

test("bytes sent right behind the request are not lost", async () => {
  const stream = await openStream(fixture.target);
  stream.write(`${await upgradeText("SPDY/3.1", "POST", ["Content-Length: 0"])}early`);
  let text = "";
  stream.on("data", (chunk: Buffer) => {
    text += chunk.toString("latin1");
  });
  await expect.poll(() => text.endsWith("\r\n\r\nearly")).toBe(true);
  stream.destroy();
});

test("an end from the caller reaches the apiserver, what follows from there still arrives", async () => {
  fixture.upstream.answerUpgrade = (request, socket) => {
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${request.headers.upgrade}\r\n\r\n`,
    );
    socket.on("data", () => {});
    socket.on("end", () => socket.end("last words"));
  };
  const stream = await openStream(fixture.target);
  stream.write(await upgradeText("SPDY/3.1", "POST"));
  expect((await readAnswer(stream)).status).toBe(101);
  let text = "";
  stream.on("data", (chunk: Buffer) => {
    text += chunk.toString("latin1");
  });
  stream.end();
  await once(stream, "close");
  expect(text).toBe("last words");
});

test("an end from the apiserver closes both streams", async () => {
  fixture.upstream.answerUpgrade = (request, socket) => {
    socket.end(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${request.headers.upgrade}\r\n\r\nbye`,
    );
  };
  const stream = await openStream(fixture.target);
  stream.write(await upgradeText("SPDY/3.1", "POST"));
  let text = "";
  stream.on("data", (chunk: Buffer) => {
    text += chunk.toString("latin1");
  });
  await once(stream, "end");
  stream.end();
  expect(text).toMatch(/^HTTP\/1\.1 101 [\s\S]*\r\n\r\nbye$/);
  await expect.poll(() => fixture.app.counts()).toEqual({ streams: 0, underWay: 0 });
});

test("a caller who goes away takes the apiserver's stream along", async () => {
  await expect.poll(() => fixture.upstream.sockets()).toBe(0);
  const stream = await openStream(fixture.target);
  stream.write(await upgradeText("websocket"));
  expect((await readAnswer(stream)).status).toBe(101);
  expect(fixture.upstream.sockets()).toBe(1);
  stream.destroy();
  await expect.poll(() => fixture.upstream.sockets()).toBe(0);
});

test("a refusal by the apiserver is relayed whole, then the stream is closed", async () => {
  fixture.upstream.answerUpgrade = (_request, socket) => {
    socket.end(
      'HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{"a":1}\r\n0\r\n\r\n',
    );
  };
  const stream = await openStream(fixture.target);
  stream.write(await upgradeText("websocket"));
  let text = "";
  stream.on("data", (chunk: Buffer) => {
    text += chunk.toString("latin1");
  });
  await once(stream, "close");
  expect(text).toMatch(/^HTTP\/1\.1 403 Forbidden\r\n/);
  expect(text).toMatch(/\r\nConnection: close\r\n/);
  expect(text).toContain('{"a":1}');
});

test("a caller without a token gets a Status and no stream to the apiserver", async () => {
  const text = requestText(`GET ${EXEC} HTTP/1.1`, ["Host: a", "Connection: Upgrade", "Upgrade: websocket"]);
  const answer = await sendRaw(fixture.target, text);
  expect(answer.status).toBe(401);
  expect(answer.head).toMatch(/\r\nWWW-Authenticate: Bearer\r\n/);
  expect(JSON.parse(answer.body)).toMatchObject({ kind: "Status", reason: "Unauthorized", code: 401 });
  expect(fixture.upstream.requests).toEqual([]);
});

test("one line tells about an upgraded stream when it is over", async () => {
  const stream = await openStream(fixture.target, { correlationId: "00112233445566778899aabb" });
  stream.write(await upgradeText("websocket"));
  await readAnswer(stream);
  stream.write("ping");
  await once(stream, "data");
  stream.destroy();
  const isOurs = (line: { readonly [name: string]: unknown }): boolean =>
    line["correlationId"] === "00112233445566778899aabb";
  await expect.poll(() => fixture.log.lines.filter(isOurs).length).toBe(1);
  expect(fixture.log.lines.find(isOurs)).toMatchObject({
    event: "request",
    decision: "allowed",
    status: 101,
    resource: "pods",
    subresource: "exec",
    namespace: "a",
    name: "b",
    bytes: 4,
  });
});
