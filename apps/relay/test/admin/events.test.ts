import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { temporaryFolder } from "@cluster-connect/testkit";
import { fastify } from "fastify";
import { onTestFinished, test, vi } from "vitest";
import { eventRoutes } from "../../src/admin/routes/events.ts";
import { createStatusFeed } from "../../src/status/feed.ts";
import { placeInFolder } from "../../src/store/open/place.ts";
import { openStore } from "../../src/store/store.ts";

test("a listener whose response is not told of its socket's end is forgotten all the same", async () => {
  const store = await openStore(placeInFolder(await temporaryFolder()), new Date());
  const statuses = createStatusFeed();
  const [route] = eventRoutes({ store, statuses, now: Date.now, stillAdmits: () => true } as never);
  const app = fastify({ forceCloseConnections: true });
  onTestFinished(async () => {
    await app.close();
    await store.close();
  });
  const principal = { expiresAt: new Date(Date.now() + 3_600_000) };
  app.get("/", async (request, reply) => {
    await route?.handle({ principal, params: {}, query: {}, body: undefined, raw: request, reply } as never);
    return reply;
  });
  app.get("/held", (_request, reply) => void reply.hijack());
  // Nothing bounds the requests here: Node hands the socket over, and forgets a response that waits behind another.
  const handedOver = Promise.withResolvers<Socket>();
  app.server.on("upgrade", (_request, socket: Socket) => {
    socket.on("error", () => undefined).on("end", () => socket.end());
    handedOver.resolve(socket.resume());
  });
  await app.listen({ host: "127.0.0.1", port: 0 });
  const address = app.server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  const client = connect(address.port, "127.0.0.1");
  client.on("error", () => undefined);
  client.write("GET /held HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await vi.waitUntil(() => statuses.listeners === 1, { timeout: 30_000 });
  await delay(0);
  client.write("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
  const socket = await handedOver.promise;
  const gone = once(socket, "close");
  client.destroy();
  await gone;
  await vi.waitUntil(() => statuses.listeners === 0, { timeout: 30_000 });
});
