import { createServer } from "node:http";
import { connect } from "node:net";
import { afterEach, expect, onTestFinished, test } from "vitest";
import {
  createHealth,
  createMetrics,
  type HealthServer,
  listenOn,
  MAX_UNANSWERED_REQUESTS,
  startHealthServer,
} from "../../src/index.ts";

let server: HealthServer | undefined;
afterEach(async () => {
  await server?.close();
});

async function start() {
  const health = createHealth();
  const metrics = createMetrics({ service: "test" });
  server = await startHealthServer({ host: "127.0.0.1", port: 0 }, { health, metrics });
  const { port } = server.address;
  return { health, metrics, port, get: (path: string) => fetch(`http://127.0.0.1:${port}${path}`) };
}

test("ready says each part's state, and 503 when one has failed or throws", async () => {
  const { health, get } = await start();
  expect((await get("/readyz")).status).toBe(200);
  health.add("store", () => ({ ok: true, text: "open" }));
  health.add("tunnel", () => Promise.reject(new Error("no relay")));
  const response = await get("/readyz");
  expect(response.status).toBe(503);
  expect(await response.json()).toEqual({
    ok: false,
    checks: [
      { name: "store", ok: true, text: "open" },
      { name: "tunnel", ok: false, text: "no relay" },
    ],
  });
});

test("a draining process is live and not ready", async () => {
  const { health, get } = await start();
  health.drain();
  expect((await get("/readyz")).status).toBe(503);
  expect((await get("/livez")).status).toBe(200);
});

test("metrics are served in the text format", async () => {
  const { metrics, get } = await start();
  metrics.counter("opens_total", "Opens.", ["result"]).inc({ result: "ok" }, 2);
  metrics.observe("tunnels", "Tunnels.", () => 7);
  const text = await (await get("/metrics")).text();
  expect(text).toContain('cluster_connect_opens_total{result="ok",service="test"} 2');
  expect(text).toContain('cluster_connect_tunnels{service="test"} 7');
});

test("any other path is not found", async () => {
  const { get } = await start();
  expect((await get("/secret")).status).toBe(404);
});

test("a port in use is named", async () => {
  const { health, metrics, port } = await start();
  const again = startHealthServer({ host: "127.0.0.1", port }, { health, metrics });
  await expect(again).rejects.toMatchObject({
    code: "CC_PORT_IN_USE",
    message: `127.0.0.1:${port} is in use`,
    hint: "End the process that has it, or give another port in the settings.",
  });
});

test("a server that could not take connections, one after the other, goes on", async () => {
  const listening = createServer();
  onTestFinished(() => void listening.close());
  await listenOn(listening, { host: "127.0.0.1", port: 0 });
  for (const _ of [1, 2]) expect(() => listening.emit("error", new Error("accept EMFILE"))).not.toThrow();
});

test("metrics that many ask for at once are made once, and anew for the next request", async () => {
  let made = 0;
  const text = async (): Promise<string> => {
    made += 1;
    await new Promise(setImmediate);
    return `made ${made}\n`;
  };
  const metrics = { ...createMetrics({ service: "test" }), text };
  server = await startHealthServer({ host: "127.0.0.1", port: 0 }, { health: createHealth(), metrics });
  const { port } = server.address;
  const socket = connect(port, "127.0.0.1");
  onTestFinished(() => void socket.destroy());
  let answers = "";
  socket.on("data", (chunk: Buffer) => {
    answers += chunk.toString("utf8");
  });
  socket.write("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(MAX_UNANSWERED_REQUESTS));
  await expect.poll(() => answers.match(/^made \d+$/gm)).toHaveLength(MAX_UNANSWERED_REQUESTS);
  expect(made).toBe(1);
  expect(await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()).toBe("made 2\n");
});
