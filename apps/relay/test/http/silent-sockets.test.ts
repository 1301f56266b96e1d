import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { connect as connectTls } from "node:tls";
import { SYSTEM_CLOCK } from "@cluster-connect/base";
import { createMemoryLogger } from "@cluster-connect/service/testing";
import { selfSigned, temporaryFolder } from "@cluster-connect/testkit";
import { expect, onTestFinished, test, vi } from "vitest";
import { createRelayServer } from "../../src/http/server.ts";
import { boundSilentSockets } from "../../src/http/silent-sockets.ts";
import { LIMIT_SCHEMA } from "../../src/quota/limit-settings.ts";
import { createQuotas } from "../../src/quota/quotas.ts";

async function started(secure: boolean, limits: Readonly<Record<string, number>>) {
  const folder = await temporaryFolder();
  const { cert, key } = await selfSigned();
  const tls = { certFile: join(folder, "tls.crt"), keyFile: join(folder, "tls.key") };
  await writeFile(tls.certFile, cert);
  await writeFile(tls.keyFile, key);
  const deps = { log: createMemoryLogger(), clock: SYSTEM_CLOCK };
  const { server } = await createRelayServer(secure ? { tls } : { tls: undefined }, deps);
  const quotas = createQuotas(LIMIT_SCHEMA.parse(limits), { now: Date.now, random: Math.random });
  const onRefused = vi.fn();
  const onFailed = vi.fn();
  boundSilentSockets(server, { trustedProxies: [] }, { quotas, onRefused, onFailed });
  const held: ServerResponse[] = [];
  server.on("request", (request, response) => {
    request.resume();
    if (request.url === "/held") {
      response.writeContinue();
      held.push(response);
    } else if (request.method === "GET") response.end("ok");
    else request.once("end", () => response.end("ok"));
  });
  server.on("upgrade", (_request, socket: Duplex) => void socket.write("101"));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  const address = server.address();
  const port = address !== null && typeof address === "object" ? address.port : 0;
  const opened = async (socket: Socket): Promise<Socket> => {
    socket.on("error", () => undefined);
    onTestFinished(() => void socket.destroy());
    await once(socket, "connect");
    return socket;
  };
  return {
    quotas,
    onRefused,
    onFailed,
    held,
    dial: (localAddress = "127.0.0.1") => opened(connect({ port, host: "127.0.0.1", localAddress })),
    dialTls: async (): Promise<Socket> => {
      const socket = connectTls({ port, host: "127.0.0.1", ca: cert, checkServerIdentity: () => undefined });
      await Promise.all([opened(socket), once(socket, "secureConnect")]);
      return socket;
    },
  };
}

async function counted(quotas: { readonly silentSockets: number }, count: number): Promise<void> {
  await vi.waitFor(() => expect(quotas.silentSockets).toBe(count), { timeout: 30_000 });
}

const GET = "GET / HTTP/1.1\r\nHost: relay\r\n\r\n";
const HELD = GET.replace("/", "/held");
const POST = "POST / HTTP/1.1\r\nHost: relay\r\nContent-Length: 2\r\n\r\n";
const UPGRADE = GET.replace("\r\n\r\n", "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");

test("a socket counts until it has sent a request or is closed, and one too many is closed at once", async () => {
  const { dial, quotas, onRefused } = await started(false, { handshakesPerAddress: 2 });
  const [first, second] = [await dial(), await dial()];
  await counted(quotas, 2);
  const third = await dial();
  await once(third, "close");
  expect(onRefused).toHaveBeenCalledTimes(1);
  first.write(HELD);
  await once(first, "data");
  await counted(quotas, 1);
  second.destroy();
  await counted(quotas, 0);
  first.destroy();
});

test("it counts again when the request is answered, so that who asks now and then holds no more sockets", async () => {
  const { dial, quotas, held } = await started(false, { handshakesPerAddress: 2 });
  const sockets = [await dial(), await dial()];
  for (const socket of sockets) socket.resume().write(HELD);
  await vi.waitUntil(() => held.length === 2, { timeout: 30_000 });
  await counted(quotas, 0);
  const third = await dial();
  held[0]?.end();
  await counted(quotas, 2);
  third.write(GET);
  await once(third, "data");
  await counted(quotas, 2);
  const closed = Promise.race(sockets.map((socket) => once(socket, "close")));
  held[1]?.end();
  await closed;
  await counted(quotas, 2);
});

test("a request counts as silent until its body is there", async () => {
  const { dial, quotas } = await started(false, { handshakesPerAddress: 2 });
  const socket = await dial();
  socket.write(POST);
  socket.write("1");
  const other = await dial();
  other.write(HELD);
  await once(other, "data");
  await counted(quotas, 1);
  socket.write("2");
  await once(socket, "data");
  await counted(quotas, 1);
  socket.destroy();
  await counted(quotas, 0);
});

test("a channel does not count, also where a request came before it on the same socket", async () => {
  const { dial, quotas } = await started(false, { handshakesPerAddress: 1 });
  const socket = await dial();
  socket.write(GET);
  await once(socket, "data");
  await counted(quotas, 1);
  socket.write(UPGRADE);
  await once(socket, "data");
  await counted(quotas, 0);
  socket.destroy();
});

test("under TLS it counts from before the handshake, and after it until there is a request", async () => {
  const { dial, dialTls, quotas } = await started(true, { handshakesPerAddress: 2 });
  const silent = await dial();
  const secure = await dialTls();
  await counted(quotas, 2);
  await once(await dial(), "close");
  secure.write(HELD);
  await once(secure, "data");
  await counted(quotas, 1);
  silent.destroy();
  await counted(quotas, 0);
});

test("when there are too many in all, the oldest of the address that has the most is closed for another", async () => {
  const { dial, quotas } = await started(false, { handshakes: 3 });
  const oldest = await dial("127.0.0.2");
  await counted(quotas, 1);
  await dial("127.0.0.2");
  await dial("127.0.0.3");
  await counted(quotas, 3);
  const other = await dial("127.0.0.4");
  await once(oldest, "close");
  other.write(GET);
  await once(other, "data");
});

test("whatever throws while one socket is refused ends that socket, and the next one is served", async () => {
  const { dial, onRefused, onFailed, quotas } = await started(false, { handshakes: 1 });
  onRefused.mockImplementationOnce(() => {
    throw new Error("the metric is gone");
  });
  const held = await dial();
  await counted(quotas, 1);
  const refused = await dial();
  await once(refused.resume(), "close");
  expect(onFailed).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ message: "the metric is gone" }));
  held.destroy();
  await counted(quotas, 0);
  const next = await dial();
  next.write(GET);
  const [answer] = await once(next, "data");
  expect(String(answer)).toMatch(/^HTTP\/1\.1 200 /);
});
