import { createServer, type Server } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { boundRequests, MAX_UNANSWERED_REQUESTS } from "../../src/index.ts";

const GET = "GET / HTTP/1.1\r\nHost: relay.test\r\n\r\n";
const UPGRADE = "GET / HTTP/1.1\r\nHost: relay.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

async function listen(server: Server): Promise<number> {
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address() as AddressInfo;
  return address.port;
}

/** Everything that the peer gets until its socket is closed. */
async function send(port: number, text: string): Promise<{ readonly socket: Socket; readonly got: () => string }> {
  const socket = connect(port, "127.0.0.1");
  let got = "";
  socket.on("data", (chunk) => {
    got += chunk.toString("latin1");
  });
  socket.on("error", () => undefined);
  onTestFinished(() => void socket.destroy());
  socket.write(text);
  return { socket, got: () => got };
}

const closed = (socket: Socket): Promise<void> =>
  new Promise((resolve) => (socket.closed ? resolve() : void socket.once("close", () => resolve())));

test("as many pipelined requests as are allowed are answered, again and again", async () => {
  const server = createServer((_request, response) => response.end("ok"));
  boundRequests(server);
  const port = await listen(server);
  const { socket, got } = await send(port, GET.repeat(MAX_UNANSWERED_REQUESTS));
  await expect.poll(() => got().split("200 OK").length - 1).toBe(MAX_UNANSWERED_REQUESTS);
  socket.write(GET.repeat(MAX_UNANSWERED_REQUESTS));
  await expect.poll(() => got().split("200 OK").length - 1).toBe(2 * MAX_UNANSWERED_REQUESTS);
});

test("one request more than may wait closes the socket, and none of the others behind it is looked at", async () => {
  let seen = 0;
  let refused = 0;
  const server = createServer(() => {
    seen += 1;
  });
  boundRequests(server, {
    onRefused: () => {
      refused += 1;
    },
  });
  const port = await listen(server);
  const { socket, got } = await send(port, GET.repeat(1_800));
  await closed(socket);
  expect({ seen, refused, got: got() }).toEqual({ seen: MAX_UNANSWERED_REQUESTS, refused: 1, got: "" });
});

test.each([
  ["an upgrade", UPGRADE],
  ["a CONNECT", "CONNECT other:443 HTTP/1.1\r\nHost: other\r\n\r\n"],
])("%s behind a request that waits for its answer closes the socket", async (_what, second) => {
  let upgrades = 0;
  const server = createServer(() => undefined);
  server.on("upgrade", () => {
    upgrades += 1;
  });
  server.on("connect", () => {
    upgrades += 1;
  });
  boundRequests(server);
  const port = await listen(server);
  const { socket } = await send(port, GET + second);
  await closed(socket);
  expect(upgrades).toBe(0);
});

test("an upgrade on a socket whose requests are answered is taken", async () => {
  const server = createServer((_request, response) => response.end("ok"));
  server.on("upgrade", (_request, socket) => socket.end("HTTP/1.1 101 Switching Protocols\r\n\r\n"));
  boundRequests(server);
  const port = await listen(server);
  const { socket, got } = await send(port, GET);
  await expect.poll(got).toContain("200 OK");
  socket.write(UPGRADE);
  await expect.poll(got).toContain("101 Switching Protocols");
});

test("a socket whose answers nobody reads is closed", async () => {
  let destroyed = false;
  const server = createServer((request, response) => {
    request.socket.once("close", () => {
      destroyed = true;
    });
    response.end(Buffer.alloc(32 * 1_048_576));
  });
  boundRequests(server, { stalledMs: 300 });
  const port = await listen(server);
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => undefined);
  onTestFinished(() => void socket.destroy());
  socket.pause();
  socket.write(GET);
  await expect.poll(() => destroyed).toBe(true);
});
