import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { type AddressInfo, connect } from "node:net";
import { afterEach, expect, test } from "vitest";
import { sendMessage } from "../../src/testing/index.ts";
import { acceptWebSocket, dialWebSocket, proxyFor } from "../../src/ws/index.ts";
import { selfSigned } from "../certificate.ts";

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

const { signal } = new AbortController();

async function listen(server: Server, scheme: string): Promise<URL> {
  servers.push(server);
  server.listen(0, "localhost");
  await once(server, "listening");
  return new URL(`${scheme}://localhost:${(server.address() as AddressInfo).port}/`);
}

/** A proxy that knows CONNECT, and what it was asked. */
async function startProxy(status = 200) {
  const asked: Array<{ readonly authority: string; readonly login: string | undefined }> = [];
  const server = createServer();
  server.on("connect", (request, socket) => {
    asked.push({ authority: request.url ?? "", login: request.headers["proxy-authorization"] });
    if (status !== 200) {
      socket.end(`HTTP/1.1 ${status} No\r\n\r\n`);
      return;
    }
    const upstream = connect(Number(request.url?.split(":")[1]), "localhost", () => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      socket.pipe(upstream).pipe(socket);
    });
    for (const side of [socket, upstream]) side.on("error", () => {});
  });
  return { url: await listen(server, "http"), asked };
}

test.each(["http", "https"])("a channel is opened through a proxy, which alone knows the host: %s", async (scheme) => {
  const { cert, key } = selfSigned("relay.invalid");
  const relay = scheme === "http" ? createServer() : createTlsServer({ cert, key });
  const received = Promise.withResolvers<string>();
  relay.on("upgrade", (request, socket, head) => {
    acceptWebSocket(request, socket, head)?.listen({
      message: (bytes) => received.resolve(Buffer.from(bytes).toString()),
      drain() {},
      close() {},
    });
  });
  const url = await listen(relay, scheme);
  url.hostname = "relay.invalid";
  const proxy = await startProxy();
  proxy.url.username = "me";
  proxy.url.password = "p%40ss";
  const channel = await dialWebSocket(url, { signal, proxy: proxy.url, tls: { ca: cert } });
  sendMessage(channel, [Buffer.from("through")]);
  expect(await received.promise).toBe("through");
  expect(proxy.asked).toEqual([{ authority: url.host, login: `Basic ${Buffer.from("me:p@ss").toString("base64")}` }]);
  channel.terminate();
});

test("a proxy that refuses is named, its password is not", async () => {
  const proxy = await startProxy(407);
  proxy.url.username = "me";
  proxy.url.password = "hunter2";
  const dialing = dialWebSocket(new URL("https://relay.example/"), { signal, proxy: proxy.url });
  await expect(dialing).rejects.toMatchObject({
    code: "CC_RELAY_UNREACHABLE",
    message: `The proxy ${proxy.url.host} answered 407 to CONNECT relay.example:443`,
  });
});

test("a proxy that is not there is named", async () => {
  const proxy = await startProxy();
  for (const server of servers.splice(0)) server.close();
  await expect(dialWebSocket(new URL("https://relay.example/"), { signal, proxy: proxy.url })).rejects.toMatchObject({
    code: "CC_RELAY_UNREACHABLE",
    message: expect.stringContaining(proxy.url.host),
  });
});

test("an untrusted certificate is refused through a proxy as well", async () => {
  const url = await listen(createTlsServer(selfSigned("localhost")), "https");
  const proxy = await startProxy();
  await expect(dialWebSocket(url, { signal, proxy: proxy.url })).rejects.toMatchObject({ code: "CC_TLS_UNTRUSTED" });
});

const RELAY = "https://relay.example.com/";

test.each<readonly [string, Record<string, string>, string | undefined]>([
  [RELAY, {}, undefined],
  [RELAY, { HTTPS_PROXY: "http://proxy:3128" }, "http://proxy:3128/"],
  [RELAY, { https_proxy: "proxy:3128" }, "http://proxy:3128/"],
  [RELAY, { ALL_PROXY: "http://proxy:3128" }, "http://proxy:3128/"],
  [RELAY, { HTTP_PROXY: "http://proxy:3128" }, undefined],
  ["http://relay.example.com/", { HTTP_PROXY: "http://proxy:3128" }, "http://proxy:3128/"],
  [RELAY, { HTTPS_PROXY: "http://proxy", NO_PROXY: "*" }, undefined],
  [RELAY, { HTTPS_PROXY: "http://proxy", NO_PROXY: "localhost, example.com" }, undefined],
  [RELAY, { HTTPS_PROXY: "http://proxy", NO_PROXY: ".example.com" }, undefined],
  [RELAY, { HTTPS_PROXY: "http://proxy", no_proxy: "relay.example.com:443" }, undefined],
  [RELAY, { HTTPS_PROXY: "http://proxy", NO_PROXY: "relay.example.com:8443" }, "http://proxy/"],
  [RELAY, { HTTPS_PROXY: "http://proxy", NO_PROXY: "ample.com" }, "http://proxy/"],
])("the proxy for %s with %o is %s", (url, env, expected) => {
  expect(proxyFor(new URL(url), env)?.href).toBe(expected);
});

test("a variable that is no URL is named without its value", () => {
  const find = () => proxyFor(new URL(RELAY), { HTTPS_PROXY: "socks5://user:secret@proxy" });
  expect(find).toThrow(
    expect.objectContaining({ code: "CC_CONFIG_INVALID", message: expect.not.stringContaining("secret") }),
  );
});
