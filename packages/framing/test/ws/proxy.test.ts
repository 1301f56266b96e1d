import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { type AddressInfo, connect } from "node:net";
import { selfSigned } from "@cluster-connect/testkit";
import { afterEach, expect, test } from "vitest";
import { sendMessage } from "../../src/testing/index.ts";
import { acceptWebSocket, connectThroughProxy, dialWebSocket, proxyFor } from "../../src/ws/index.ts";

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

/** A proxy that knows CONNECT, and the requests that it got. */
async function startProxy(status = 200, headers: readonly string[] = [], early = "") {
  const asked: Array<{ readonly authority: string; readonly login: string | undefined }> = [];
  const server = createServer();
  server.on("connect", (request, socket) => {
    asked.push({ authority: request.url ?? "", login: request.headers["proxy-authorization"] });
    if (status !== 200) {
      socket.end([`HTTP/1.1 ${status} No`, ...headers, "", ""].join("\r\n"));
      return;
    }
    const upstream = connect(Number(request.url?.split(":")[1]), "localhost", () => {
      socket.write(`HTTP/1.1 200 OK\r\n\r\n${early}`);
      socket.pipe(upstream).pipe(socket);
    });
    for (const side of [socket, upstream]) side.on("error", () => {});
  });
  return { url: await listen(server, "http"), asked };
}

test.each(["http", "https"])("a channel is opened through a proxy, which alone knows the host: %s", async (scheme) => {
  const { cert, key } = await selfSigned({ name: "relay.invalid" });
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
    message:
      `The proxy ${proxy.url.host} wants a user and password (407) for relay.example:443; ` +
      "it did not take the user and password of its URL",
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
  const url = await listen(createTlsServer(await selfSigned({ name: "localhost" })), "https");
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
  [RELAY, { HTTPS_PROXY: "http://proxy", NO_PROXY: "RELAY.Example.COM." }, undefined],
  [RELAY, { HTTPS_PROXY: "http://proxy", NO_PROXY: "*.example.com" }, undefined],
  [RELAY, { HTTPS_PROXY: "http://proxy", NO_PROXY: "other.test *" }, undefined],
  [RELAY, { HTTPS_PROXY: "", https_proxy: "http://proxy" }, "http://proxy/"],
  [RELAY, { HTTPS_PROXY: " ", ALL_PROXY: "http://proxy" }, "http://proxy/"],
  [RELAY, { HTTPS_PROXY: "http://proxy", NO_PROXY: "", no_proxy: "example.com" }, undefined],
  ["https://10.1.2.3/", { HTTPS_PROXY: "http://proxy", NO_PROXY: "10.0.0.0/8" }, undefined],
  ["https://11.1.2.3/", { HTTPS_PROXY: "http://proxy", NO_PROXY: "10.0.0.0/8" }, "http://proxy/"],
  ["https://10.1.2.3/", { HTTPS_PROXY: "http://proxy", NO_PROXY: "10.1.2.3/32" }, undefined],
  ["https://10.1.2.4/", { HTTPS_PROXY: "http://proxy", NO_PROXY: "10.1.2.3/32" }, "http://proxy/"],
  ["https://10.1.2.3/", { HTTPS_PROXY: "http://proxy", NO_PROXY: "10.0.0.0/33" }, "http://proxy/"],
  ["https://10.1.2.3/", { HTTPS_PROXY: "http://proxy", NO_PROXY: "2.3" }, "http://proxy/"],
  ["https://10.example.com/", { HTTPS_PROXY: "http://proxy", NO_PROXY: "10.0.0.0/8" }, "http://proxy/"],
  ["https://[fd00::7]/", { HTTPS_PROXY: "http://proxy", NO_PROXY: "fd00::/8" }, undefined],
  ["https://[fe80::7]/", { HTTPS_PROXY: "http://proxy", NO_PROXY: "fd00::/8" }, "http://proxy/"],
  ["https://[fd00::7]/", { HTTPS_PROXY: "http://proxy", NO_PROXY: "FD00:0:0:0:0:0:0:7" }, undefined],
  ["https://[fd00::7]:8443/", { HTTPS_PROXY: "http://proxy", NO_PROXY: "[fd00::7]:8443" }, undefined],
  ["https://[fd00::7]/", { HTTPS_PROXY: "http://proxy", NO_PROXY: "[fd00::7]:8443" }, "http://proxy/"],
])("the proxy for %s with %o is %s", (url, env, expected) => {
  expect(proxyFor(new URL(url), env)?.href).toBe(expected);
});

test("a variable that is no URL is named without its value", () => {
  const find = () => proxyFor(new URL(RELAY), { HTTPS_PROXY: "socks5://user:secret@proxy" });
  expect(find).toThrow(
    expect.objectContaining({ code: "CC_CONFIG_INVALID", message: expect.not.stringContaining("secret") }),
  );
});

test.each<readonly [string, string]>([
  ["100%sure", "100%sure"],
  ["p%40ss%2Fword", "p@ss/word"],
  ["%FF%zz%41", "%FF%zzA"],
  ["%C3%BC", "ü"],
])("a proxy's password %s is sent as %s", async (written, sent) => {
  const proxy = await startProxy(502);
  const url = proxyFor(new URL(RELAY), { HTTPS_PROXY: `http://me:${written}@${proxy.url.host}` });
  if (url === undefined) throw new Error("no proxy");
  await expect(connectThroughProxy(url, { host: "relay.example", port: 443 }, { signal })).rejects.toThrow("502");
  expect(proxy.asked[0]?.login).toBe(`Basic ${Buffer.from(`me:${sent}`).toString("base64")}`);
});

test("an IPv6 address has its brackets in CONNECT", async () => {
  const proxy = await startProxy(502);
  await expect(connectThroughProxy(proxy.url, { host: "fd00::7", port: 443 }, { signal })).rejects.toThrow("502");
  expect(proxy.asked.map(({ authority }) => authority)).toEqual(["[fd00::7]:443"]);
});

test("a proxy that wants what we cannot do is named with it, and with a way out", async () => {
  const proxy = await startProxy(407, ["Proxy-Authenticate: Negotiate", "Proxy-Authenticate: NTLM"]);
  await expect(connectThroughProxy(proxy.url, { host: "relay.example", port: 443 }, { signal })).rejects.toMatchObject({
    message: `The proxy ${proxy.url.host} wants NTLM or Negotiate authentication (407) for relay.example:443`,
    hint: expect.stringContaining("cntlm"),
  });
  expect(proxy.asked).toHaveLength(1);
});

test("a proxy that wants a password says which variable takes it", async () => {
  const proxy = await startProxy(407, ['Proxy-Authenticate: Basic realm="NTLM"']);
  await expect(connectThroughProxy(proxy.url, { host: "relay.example", port: 443 }, { signal })).rejects.toMatchObject({
    message: `The proxy ${proxy.url.host} wants Basic authentication (407) for relay.example:443`,
    hint: `Put them into the variable: HTTPS_PROXY=http://USER:PASSWORD@${proxy.url.host}`,
  });
});

test("a portal that redirects is named with where it leads", async () => {
  const proxy = await startProxy(302, ["Location: https://portal.hotel.example/login?back=1"]);
  await expect(connectThroughProxy(proxy.url, { host: "relay.example", port: 443 }, { signal })).rejects.toMatchObject({
    message: `The proxy ${proxy.url.host} answered 302 to portal.hotel.example to CONNECT relay.example:443`,
    hint: expect.stringContaining("browser"),
  });
});

test("what the far end says together with the proxy's answer is not lost", async () => {
  const far = createServer();
  const proxy = await startProxy(200, [], "early");
  const { port } = await listen(far, "http");
  const socket = await connectThroughProxy(proxy.url, { host: "localhost", port: Number(port) }, { signal });
  const [bytes] = await once(socket, "data");
  expect(String(bytes)).toBe("early");
  socket.destroy();
});
