import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { ConnectError } from "@cluster-connect/protocol";
import { selfSigned } from "@cluster-connect/testkit";
import { afterEach, expect, test } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import type { MessageChannel } from "../../src/index.ts";
import { type AcceptWebSocket, createWebSocketAcceptor, dialWebSocket, refuseUpgrade } from "../../src/ws/index.ts";

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function listen(server: Server): Promise<URL> {
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/connect`);
}

function accepting(server: Server, accept: AcceptWebSocket): Promise<MessageChannel | undefined> {
  return new Promise((resolve, reject) => {
    server.on("upgrade", (request, socket, head) => {
      accept(request, socket, head).then(resolve, reject);
    });
  });
}

const { signal } = new AbortController();

test("a dial that nobody answers names host and reason", async () => {
  const server = createServer();
  const url = await listen(server);
  servers.length = 0;
  server.close();
  await expect(dialWebSocket(url, { signal })).rejects.toMatchObject({
    code: "CC_RELAY_UNREACHABLE",
    message: `${url.host} cannot be reached: connection refused`,
  });
});

test("a refusal is told by the code in its body", async () => {
  const server = createServer().on("upgrade", (_request, socket) => {
    refuseUpgrade(socket, new ConnectError("CC_TOKEN_EXPIRED", "the token expired", { retryAfterMs: 3_000 }));
  });
  await expect(dialWebSocket(await listen(server), { signal })).rejects.toMatchObject({
    code: "CC_TOKEN_EXPIRED",
    message: "the token expired",
    retryAfterMs: 3_000,
  });
});

test("an answer that is not from a relay is told by its status", async () => {
  const server = createServer((_request, response) => response.writeHead(404).end("<html>"));
  await expect(dialWebSocket(await listen(server), { signal })).rejects.toMatchObject({
    code: "CC_RELAY_REFUSED",
    message: expect.stringContaining("404"),
  });
});

test("a server without the subprotocol is no relay", async () => {
  const server = createServer();
  new WebSocketServer({ server, handleProtocols: () => false });
  await expect(dialWebSocket(await listen(server), { signal })).rejects.toMatchObject({ code: "CC_RELAY_REFUSED" });
});

test("a dialer without the subprotocol is refused by name", async () => {
  const accept = createWebSocketAcceptor();
  const server = createServer().on("upgrade", (request, socket, head) => void accept(request, socket, head));
  const url = await listen(server);
  const socket = new WebSocket(url, "another.v1");
  const [, response] = await once(socket, "unexpected-response");
  expect(response.statusCode).toBe(426);
  socket.on("error", () => {});
  socket.terminate();
});

test("headers reach the server with the upgrade", async () => {
  const accept = createWebSocketAcceptor();
  const seen = Promise.withResolvers<string | undefined>();
  const server = createServer().on("upgrade", (request, socket, head) => {
    seen.resolve(request.headers.authorization);
    void accept(request, socket, head);
  });
  const channel = await dialWebSocket(await listen(server), { signal, headers: { authorization: "Bearer x" } });
  expect(await seen.promise).toBe("Bearer x");
  channel.terminate();
});

test("an untrusted certificate is told apart from a relay that cannot be reached", async () => {
  const server = createTlsServer(await selfSigned({ name: "localhost" }));
  const url = await listen(server);
  url.protocol = "https:";
  url.hostname = "localhost";
  await expect(dialWebSocket(url, { signal })).rejects.toMatchObject({
    code: "CC_TLS_UNTRUSTED",
    message: expect.stringContaining(url.host),
  });
});

test("a certificate that the given authority signed is trusted", async () => {
  const accept = createWebSocketAcceptor();
  const { cert, key } = await selfSigned({ name: "localhost" });
  const server = createTlsServer({ cert, key });
  const accepted = accepting(server, accept);
  const url = await listen(server);
  url.protocol = "https:";
  url.hostname = "localhost";
  const channel = await dialWebSocket(url, { signal, tls: { ca: cert } });
  (await accepted)?.terminate();
  channel.terminate();
});

test("an aborted dial rejects with the reason", async () => {
  const server = createServer().on("upgrade", () => {});
  const abort = new AbortController();
  const dialing = dialWebSocket(await listen(server), { signal: abort.signal });
  abort.abort(new Error("changed my mind"));
  await expect(dialing).rejects.toThrow("changed my mind");
});
