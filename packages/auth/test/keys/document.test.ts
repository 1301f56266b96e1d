import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { createServer } from "node:https";
import { type AddressInfo, connect } from "node:net";
import { createFetchDocument, fetchDocument } from "@cluster-connect/auth";
import { selfSigned } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { expectRejection } from "../fixture.ts";

async function httpsServer(credentials: { readonly key: string; readonly cert: string }) {
  const server = createServer(credentials, (_request, response) => response.end("hello"));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: new URL(`https://localhost:${port}/x`),
    [Symbol.asyncDispose]: async () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

test("a document is fetched over https under a certificate authority of one's own, and only under it", async () => {
  const credentials = await selfSigned({ name: "localhost" });
  await using server = await httpsServer(credentials);
  const signal = AbortSignal.timeout(5_000);
  await expect(fetchDocument(server.url, { signal, certificateAuthority: credentials.cert })).resolves.toBe("hello");
  await expectRejection(fetchDocument(server.url, { signal }), "CC_ISSUER_UNREACHABLE", /SELF_SIGNED/);
  const { cert: certificateAuthority } = await selfSigned({ name: "localhost" });
  await expectRejection(
    fetchDocument(server.url, { signal, certificateAuthority }),
    "CC_ISSUER_UNREACHABLE",
    /\(.+\)$/,
  );
});

test("a certificate for another name is refused", async () => {
  const credentials = await selfSigned({ name: "other.example.com" });
  await using server = await httpsServer(credentials);
  const options = { signal: AbortSignal.timeout(5_000), certificateAuthority: credentials.cert };
  await expectRejection(fetchDocument(server.url, options), "CC_ISSUER_UNREACHABLE", /ALTNAME/);
});

test.each(["http://127.0.0.1:1/", "http://example.com/", "file:///etc/hosts", "data:,x"])(
  "%s is not asked",
  async (url) => {
    const attempt = fetchDocument(new URL(url), { signal: AbortSignal.timeout(5_000) });
    await expectRejection(attempt, "CC_ISSUER_UNREACHABLE", /not an https address/);
  },
);

/** An HTTP proxy that knows CONNECT and leads every name to this machine; says where it was asked to go. */
async function startConnectProxy(status = 200) {
  const asked: string[] = [];
  const server = createHttpServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  server.on("connect", (request, client, head) => {
    asked.push(request.url ?? "");
    client.on("error", () => {});
    if (status !== 200) return void client.end(`HTTP/1.1 ${status} No\r\n\r\n`);
    const upstream = connect(Number(request.url?.split(":").at(-1)), "127.0.0.1", () => {
      client.write("HTTP/1.1 200 OK\r\n\r\n");
      upstream.write(head);
      upstream.pipe(client).pipe(upstream);
    });
    upstream.on("error", () => client.destroy());
    return undefined;
  });
  const { port } = server.address() as AddressInfo;
  const url = new URL(`http://127.0.0.1:${port}`);
  return { url, asked, [Symbol.asyncDispose]: async () => void server.close() };
}

test("a document of an issuer that only the proxy knows comes by the proxy, with the issuer's own TLS", async () => {
  const credentials = await selfSigned({ name: "issuer.example" });
  await using server = await httpsServer(credentials);
  await using proxy = await startConnectProxy();
  const url = new URL(`https://issuer.example:${server.url.port}/x`);
  const options = { signal: AbortSignal.timeout(30_000), certificateAuthority: credentials.cert };
  const fetchByProxy = createFetchDocument({ proxyFor: () => proxy.url });
  await expect(fetchByProxy(url, options)).resolves.toBe("hello");
  expect(proxy.asked).toEqual([url.host]);
  await expectRejection(fetchByProxy(url, { signal: options.signal }), "CC_ISSUER_UNREACHABLE", /SELF_SIGNED/);
});

test("a proxy that refuses is named, and this machine's own issuer is not asked through it", async () => {
  const credentials = await selfSigned({ name: "localhost" });
  await using server = await httpsServer(credentials);
  await using proxy = await startConnectProxy(407);
  const options = { signal: AbortSignal.timeout(30_000), certificateAuthority: credentials.cert };
  const fetchByProxy = createFetchDocument({ proxyFor: () => proxy.url });
  await expect(fetchByProxy(server.url, options)).resolves.toBe("hello");
  expect(proxy.asked).toEqual([]);
  const error = await fetchByProxy(new URL("https://issuer.example/x"), options).catch((failed: unknown) => failed);
  expect(error).toMatchObject({ code: "CC_ISSUER_UNREACHABLE" });
  expect(String(error)).toContain(`through the proxy ${proxy.url.host}`);
});
