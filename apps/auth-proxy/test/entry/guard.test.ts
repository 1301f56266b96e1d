import { once } from "node:events";
import { connect, createServer as createTcpServer } from "node:net";
import { SYSTEM_CLOCK } from "@cluster-connect/base";
import { expect, test } from "vitest";
import { createStreamServer, type ServerHandlers } from "../../src/entry/server.ts";
import { createFixture } from "../support/fixture.ts";
import { openStream, readAnswer, requestText, sendRaw } from "../support/raw-client.ts";

const fail = (): never => {
  throw new Error("a handler failed");
};

test.each([
  ["a request", { request: fail }, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"],
  ["an upgrade", { upgrade: fail }, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"],
  ["a CONNECT", { refused: fail }, "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"],
  ["what is no HTTP", { refused: fail }, "\x00\x01\r\n\r\n"],
])("whatever throws while %s is taken in ends that stream and no other", async (_what, failing, bytes) => {
  const handlers: ServerHandlers = {
    request: (_request, response) => void response.end("fine"),
    upgrade: (_request, client) => void client.destroy(),
    refused: () => {},
    fault: () => undefined,
    takeLargeHead: () => () => {},
    accept: () => {},
    ...failing,
  };
  const streams = createStreamServer(handlers, { clock: SYSTEM_CLOCK });
  const tcp = createTcpServer((socket) => streams.serve(socket)).listen(0, "127.0.0.1");
  await once(tcp, "listening");
  const address = tcp.address();
  const socket = connect(typeof address === "object" && address !== null ? address.port : 0, "127.0.0.1");
  socket.resume().write(bytes, "latin1");
  await once(socket, "close");
  tcp.close();
});

test.each(["plain", "upgrade"])("a header called __proto__ is one like any other (%s)", async (way) => {
  await using fixture = await createFixture();
  const upgrade = way === "upgrade" ? ["Connection: Upgrade", "Upgrade: websocket"] : [];
  const names = ["__proto__", "constructor", "hasOwnProperty", "toString"].map((name) => `${name}: x`);
  const lines = ["Host: a", ...names, ...upgrade];
  const refused = await sendRaw(fixture.target, requestText("GET /api HTTP/1.1", lines));
  expect(refused.status).toBe(401);
  const stream = await openStream(fixture.target);
  stream.write(
    requestText("GET /api HTTP/1.1", [...lines, `Authorization: Bearer ${await fixture.token()}`, "__proto__: y"]),
  );
  expect((await readAnswer(stream)).status).toBe(way === "upgrade" ? 101 : 200);
  stream.destroy();
  expect((await sendRaw(fixture.target, requestText("GET /api HTTP/1.1", ["Host: a"]))).status).toBe(401);
});
