import { once } from "node:events";
import { connect } from "node:net";
import { connect as connectTls } from "node:tls";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createFixture, type Fixture } from "../support/fixture.ts";
import { buildProxyHeader } from "../support/proxy-header.ts";
import { openStream, readAnswer, requestText } from "../support/raw-client.ts";

let fixture: Fixture;
beforeAll(async () => {
  fixture = await createFixture();
});
afterAll(() => fixture?.[Symbol.asyncDispose]());

/** Places to cut a text of this length into pieces. */
function cuts(length: number): fc.Arbitrary<readonly number[]> {
  return fc
    .uniqueArray(fc.integer({ min: 1, max: length - 1 }), { maxLength: 8 })
    .map((at) => at.toSorted((a, b) => a - b));
}

function pieces(text: string, at: readonly number[]): readonly string[] {
  return [0, ...at].map((begin, index) => text.slice(begin, at[index] ?? text.length));
}

test("a request is the same however its bytes arrive, and so is what follows it", async () => {
  const token = await fixture.token();
  const headers = ["Host: a", `Authorization: Bearer ${token}`, "X-A: 1"];
  const chunked = requestText(
    "POST /one HTTP/1.1",
    [...headers, "Transfer-Encoding: chunked"],
    "3\r\nabc\r\n0\r\n\r\n",
  );
  const text = chunked + requestText("PUT /two HTTP/1.1", [...headers, "Content-Length: 5"], "hello");
  await fc.assert(
    fc.asyncProperty(cuts(text.length), async (at) => {
      fixture.upstream.requests.splice(0);
      const stream = await openStream(fixture.target);
      for (const piece of pieces(text, at)) {
        await new Promise<void>((resolve) => stream.write(piece, () => setImmediate(resolve)));
      }
      await expect
        .poll(() => fixture.upstream.requests.map(({ target, body }) => `${target} ${body}`).sort(), { interval: 2 })
        .toEqual(["/one abc", "/two hello"]);
      stream.destroy();
    }),
    { numRuns: 60 },
  );
});

test("an upgrade and the bytes behind it are the same however they arrive", async () => {
  const headers = [
    "Host: a",
    `Authorization: Bearer ${await fixture.token()}`,
    "Connection: Upgrade",
    "Upgrade: SPDY/3.1",
  ];
  const text = `${requestText("POST /api/v1/namespaces/a/pods/b/exec HTTP/1.1", headers)}first bytes`;
  await fc.assert(
    fc.asyncProperty(cuts(text.length), async (at) => {
      const stream = await openStream(fixture.target);
      let seen = "";
      stream.on("data", (chunk: Buffer) => {
        seen += chunk.toString("latin1");
      });
      for (const piece of pieces(text, at)) {
        await new Promise<void>((resolve) => stream.write(piece, () => setImmediate(resolve)));
      }
      await expect.poll(() => seen, { interval: 2 }).toMatch(/^HTTP\/1\.1 101 .*\r\n\r\nfirst bytes$/s);
      stream.destroy();
    }),
    { numRuns: 60 },
  );
});

test("the agent's header is read however it arrives, with the handshake in the same packet or not", async () => {
  const header = buildProxyHeader({ address: [203, 0, 113, 7], sessionId: "session-1", correlationId: "c-1" });
  await fc.assert(
    fc.asyncProperty(cuts(header.length), fc.boolean(), async (at, together) => {
      const socket = connect({ port: fixture.target.port, host: "127.0.0.1", noDelay: true });
      await once(socket, "connect");
      const parts = [0, ...at].map((begin, index) => header.subarray(begin, at[index] ?? header.length));
      if (together) socket.cork();
      for (const part of parts) {
        socket.write(part);
        if (!together) await new Promise<void>((resolve) => setImmediate(resolve));
      }
      const stream = connectTls({ socket, ca: fixture.target.caPem, servername: "localhost" });
      if (together) setImmediate(() => socket.uncork());
      await once(stream, "secureConnect");
      stream.write(requestText("GET /version HTTP/1.1", ["Host: a"]));
      expect((await readAnswer(stream)).status).toBe(401);
      stream.destroy();
    }),
    { numRuns: 40 },
  );
});
