import { once } from "node:events";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { fetchDocument } from "@cluster-connect/auth";
import { expect, test } from "vitest";
import { selfSigned } from "./certificate.ts";
import { expectRejection } from "./fixture.ts";

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
  const credentials = selfSigned("localhost");
  await using server = await httpsServer(credentials);
  const signal = AbortSignal.timeout(5_000);
  await expect(fetchDocument(server.url, { signal, certificateAuthority: credentials.cert })).resolves.toBe("hello");
  await expectRejection(fetchDocument(server.url, { signal }), "CC_ISSUER_UNREACHABLE", /SELF_SIGNED/);
  const { cert: certificateAuthority } = selfSigned("localhost");
  await expectRejection(
    fetchDocument(server.url, { signal, certificateAuthority }),
    "CC_ISSUER_UNREACHABLE",
    /\(.+\)$/,
  );
});

test("a certificate for another name is refused", async () => {
  const credentials = selfSigned("other.example.com");
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
