import { connect, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { ask } from "../support/admin.ts";
import {
  dialAgent,
  dialCli,
  enrollAgent,
  type Fixture,
  openRequest,
  opsToken,
  startFixture,
} from "../support/fixture.ts";

const request = (path: string, lines: readonly string[] = []): string =>
  `${["GET", path, "HTTP/1.1"].join(" ")}\r\n${["Host: relay.test", ...lines].join("\r\n")}\r\n\r\n`;

/** A peer that sends bytes and reads the answer. */
function dialRaw(fixture: Fixture, bytes: string): { readonly socket: Socket; readonly got: () => string } {
  const socket = connect(Number(fixture.url.port), "127.0.0.1", () => socket.write(bytes));
  let got = "";
  socket.on("data", (chunk) => {
    got += chunk.toString("latin1");
  });
  socket.on("error", () => undefined);
  onTestFinished(() => void socket.destroy());
  return { socket, got: () => got };
}

const closed = (socket: Socket): Promise<void> =>
  new Promise((resolve) => (socket.closed ? resolve() : void socket.once("close", () => resolve())));

test("floods of pipelined requests are closed, and a stream and readiness go on beside them", async () => {
  const fixture = await startFixture();
  const agent = await enrollAgent(fixture);
  await (await dialAgent(fixture, agent)).ready;
  const cli = await dialCli(fixture, await opsToken(fixture));
  await cli.ready;
  const stream = cli.open(openRequest());
  let echoed = 0;
  stream.on("data", (chunk: Buffer) => {
    echoed += chunk.length;
  });
  const flood = request("/.well-known/cluster-connect").repeat(1_000);
  const floods = Array.from({ length: 24 }, () => dialRaw(fixture, flood));
  stream.write("still here");
  await expect.poll(() => echoed).toBe(10);
  await Promise.all(floods.map(({ socket }) => closed(socket)));
  expect((await fetch(new URL("/readyz", fixture.url))).status).toBe(200);
});

test("public documents and what is not there are paced for an address, and readiness is not", async () => {
  const fixture = await startFixture({ config: { trustedProxies: ["127.0.0.1"] } });
  const get = async (path: string, from: string): Promise<number> => {
    const response = await fetch(new URL(path, fixture.url), { headers: { "x-forwarded-for": from } });
    await response.arrayBuffer();
    return response.status;
  };
  const paths = ["/.well-known/cluster-connect", "/v1/openapi.json", "/nothing", "/"];
  const asked = Array.from({ length: 1_500 }, (_, n) => get(paths[n % 4] ?? "", `2001:db8::${n.toString(16)}`));
  expect(new Set(await Promise.all(asked))).toEqual(new Set([200, 404, 429]));
  expect(await get("/.well-known/cluster-connect", "2001:db8:0:1::1")).toBe(200);
  for (const path of ["/readyz", "/healthz"]) expect(await get(path, "2001:db8::1")).toBe(200);
});

test("the store is asked once for all who ask for readiness within a moment", async () => {
  const fixture = await startFixture();
  let asked = 0;
  const execute = fixture.store.db.getExecutor().executeQuery;
  fixture.store.db.getExecutor().executeQuery = function (this: unknown, ...args: Parameters<typeof execute>) {
    if (args[0].sql.startsWith("select 1")) asked += 1;
    return execute.apply(this as never, args);
  } as typeof execute;
  await Promise.all(Array.from({ length: 50 }, () => fetch(new URL("/readyz", fixture.url))));
  expect(asked).toBeLessThanOrEqual(2);
});

test("headers that name a prototype are refused or ignored, and the relay goes on", async () => {
  const fixture = await startFixture();
  const odd = ["__proto__: x", "__proto__: y", "constructor: z", "X-Forwarded-For: __proto__"];
  const upgrade = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Protocol: __proto__"];
  for (const path of ["/v1/connect", "/v1/agent", "/__proto__", "/constructor"]) {
    const { socket, got } = dialRaw(fixture, request(path, [...odd, ...upgrade]));
    await closed(socket);
    expect(got()).toMatch(/^HTTP\/1\.1 4\d\d /);
  }
  const { socket, got } = dialRaw(fixture, request("/v1/clusters", [...odd, "Connection: close"]));
  await closed(socket);
  expect(got()).toMatch(/^HTTP\/1\.1 401 /);
  expect((await fetch(new URL("/healthz", fixture.url))).status).toBe(200);
});

test.each([
  ["HTTP/1.0", "GET /healthz HTTP/1.0\r\n\r\n", /^HTTP\/1\.1 200 /],
  ["a CONNECT", "CONNECT other:443 HTTP/1.1\r\nHost: other\r\n\r\n", /^$/],
  ["OPTIONS", "OPTIONS * HTTP/1.1\r\nHost: relay.test\r\nConnection: close\r\n\r\n", /^HTTP\/1\.1 4\d\d /],
  ["a head that is too large", `GET / HTTP/1.1\r\nHost: x\r\nA: ${"a".repeat(90_000)}\r\n\r\n`, /^HTTP\/1\.1 431 /],
])("%s is answered or refused, and its socket closed", async (_what, bytes, answer) => {
  const fixture = await startFixture();
  const { socket, got } = dialRaw(fixture, bytes);
  await closed(socket);
  expect(got()).toMatch(answer);
  expect((await fetch(new URL("/healthz", fixture.url))).status).toBe(200);
});

test("a caller who dials too many sessions a second is told when to come again", async () => {
  const limits = { dialsPerSecondPerCaller: 1 };
  const base = await startFixture();
  const fixture = await startFixture({ config: { limits: { ...base.config.limits, ...limits } } });
  const token = await opsToken(fixture);
  for (let n = 0; n < 2; n += 1) await (await dialCli(fixture, token)).ready;
  await expect(dialCli(fixture, token)).rejects.toMatchObject({ code: "CC_LIMIT_REACHED" });
  await (await dialCli(fixture, await opsToken(fixture, { sub: "joe" }))).ready;
});

test("a caller who asks for the list of clusters too often is told when to come again", async () => {
  const base = await startFixture();
  const fixture = await startFixture({ config: { limits: { ...base.config.limits, listsPerSecondPerCaller: 1 } } });
  const list = () => ask(fixture, "GET", "/v1/clusters", { as: "jane" });
  expect([(await list()).status, (await list()).status, (await list()).status]).toEqual([200, 200, 429]);
  expect((await ask(fixture, "GET", "/v1/clusters", { as: "joe" })).status).toBe(200);
});

test("a listener of events behind a request without an answer is forgotten with its socket", async () => {
  const fixture = await startFixture();
  const authorization = `Authorization: Bearer ${await opsToken(fixture, { sub: "root" })}`;
  for (let round = 0; round < 110; round += 1) {
    const { socket, got } = dialRaw(fixture, request("/v1/admin/events", [authorization]).repeat(2));
    await expect.poll(got).toContain("listening");
    socket.destroy();
    await closed(socket);
  }
  await delay(0);
  const { got } = dialRaw(fixture, request("/v1/admin/events", [authorization]));
  await expect.poll(got).toContain("200 OK");
});
