import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { join } from "node:path";
import { selfSigned, temporaryFolder } from "@cluster-connect/testkit";
import { expect, onTestFinished, test } from "vitest";
import { configFor, startTestAgent } from "./support/fixture.ts";
import { startTestRelay } from "./support/test-relay.ts";

/** An HTTP proxy that knows CONNECT; says where it was asked to go, and by whom. */
async function startProxy(): Promise<{
  readonly url: string;
  readonly asked: readonly string[];
  readonly callers: readonly string[];
}> {
  const asked: string[] = [];
  const callers: string[] = [];
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  server.on("connect", (request, client, head) => {
    asked.push(request.url ?? "");
    callers.push(Buffer.from(request.headers["proxy-authorization"]?.split(" ")[1] ?? "", "base64").toString());
    const { hostname, port } = new URL(`http://${request.url}`);
    const upstream = connect(Number(port), hostname, () => {
      client.write("HTTP/1.1 200 OK\r\n\r\n");
      upstream.write(head);
      upstream.pipe(client).pipe(upstream);
    });
    for (const socket of [client, upstream]) socket.on("error", () => {});
  });
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo; // a listening TCP server has one
  return { url: `http://127.0.0.1:${port}`, asked, callers };
}

/** Enrolls an agent and opens its tunnel, each through a proxy, with the environment that leads there. */
async function connectThrough(envFor: (proxyUrl: string) => Readonly<Record<string, string>>) {
  const tls = await selfSigned();
  const relay = await startTestRelay(tls);
  const proxy = await startProxy();
  const caFile = join(await temporaryFolder(), "relay.crt");
  await writeFile(caFile, tls.cert);
  const config = await configFor(relay, { relay: { urls: [relay.url], tunnels: 1, caFile } });
  await startTestAgent(config, { env: envFor(proxy.url) });
  await relay.nextSession();
  return { relay, proxy };
}

test.each([
  ["HTTPS_PROXY", ""],
  ["https_proxy", "without a scheme"],
  ["ALL_PROXY", ""],
])("enrollment and tunnel go through the proxy that %s names %s", async (name, bare) => {
  const { relay, proxy } = await connectThrough((url) => ({ [name]: bare === "" ? url : url.replace("http://", "") }));
  expect(proxy.asked).toEqual([relay.url.host, relay.url.host]);
});

test.each([
  ["100%sure", "100%sure"],
  ["100%25sure", "100%sure"],
  ["%zz%", "%zz%"],
])("a proxy's password that is written %s is %s", async (written, meant) => {
  const { proxy } = await connectThrough((url) => ({ HTTPS_PROXY: url.replace("//", `//user:${written}@`) }));
  expect(new Set(proxy.callers)).toEqual(new Set([`user:${meant}`]));
});

test("a relay that NO_PROXY names is dialed directly", async () => {
  const relay = await startTestRelay();
  const config = await configFor(relay);
  await startTestAgent(config, { env: { HTTP_PROXY: "http://127.0.0.1:1", NO_PROXY: "127.0.0.1" } });
  await relay.nextSession();
});

test("a proxy setting that is none ends the enrollment, and is not shown", async () => {
  const relay = await startTestRelay(await selfSigned());
  const config = await configFor(relay);
  const failed = await startTestAgent(config, { env: { HTTPS_PROXY: "socks5://user:s3cret@127.0.0.1:1" } }).catch(
    (error: unknown) => error,
  );
  expect(failed).toMatchObject({ code: "CC_CONFIG_INVALID", message: "HTTPS_PROXY is not the URL of an HTTP proxy" });
});
