import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { PassThrough } from "node:stream";
import { parseClusterId } from "@cluster-connect/protocol";
import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import { startLoopbackProxy } from "../../src/proxy/listener.ts";
import { createProofSecret, hasProof, readProofQuestion } from "../../src/proxy/proof.ts";

const { signal } = new AbortController();
const QUESTION = Buffer.from(`\0cluster-connect proof ${"a1".repeat(16)}\n`);

async function listening(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  onTestFinished(() => void server.close());
  await once(server, "listening");
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

/** A listener for one cluster, which hears what is sent there. */
async function proxy(secret: string | undefined): Promise<{ readonly port: number; readonly heard: Buffer[] }> {
  const end = new AbortController();
  onTestFinished(() => end.abort());
  const heard: Buffer[] = [];
  const clusters = [{ id: parseClusterId("prod"), serverName: "prod.test" }];
  const { port } = await startLoopbackProxy(
    { port: 0, clusters, proofSecret: secret, signal: end.signal },
    {
      open: async () => {
        const stream = new PassThrough();
        stream.on("data", (chunk: Buffer) => heard.push(chunk));
        return Object.assign(stream, { accepted: Promise.resolve() });
      },
      onFailure: () => {},
    },
  );
  return { port, heard };
}

test("a proxy proves that its port is its own, and nothing of it goes to a cluster", async () => {
  const secret = createProofSecret();
  const { port, heard } = await proxy(secret);
  expect(await hasProof(port, secret, { signal })).toBe(true);
  expect(await hasProof(port, createProofSecret(), { signal })).toBe(false);
  expect(heard).toEqual([]);
});

test.each<readonly [string, (socket: Socket) => void]>([
  ["says nothing and closes", (socket) => socket.destroy()],
  ["repeats what it hears", (socket) => socket.pipe(socket)],
  ["answers as an HTTP server does", (socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n")],
  ["sends as much as is asked for", (socket) => socket.end("0".repeat(65))],
  ["never answers", () => {}],
])("a stranger that %s proves nothing", async (_, behave) => {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.on("error", () => {}));
    behave(socket);
  });
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
  });
  expect(await hasProof(await listening(server), createProofSecret(), { signal })).toBe(false);
});

test("a port that nobody listens on proves nothing", async () => {
  const server = createServer();
  const port = await listening(server);
  server.close();
  expect(await hasProof(port, createProofSecret(), { signal })).toBe(false);
});

test("a question in pieces is one", async () => {
  const { port } = await proxy(createProofSecret());
  const socket = connect({ host: "127.0.0.1", port, noDelay: true });
  onTestFinished(() => void socket.destroy());
  for (const byte of QUESTION) {
    socket.write(Uint8Array.of(byte));
    await new Promise((resolve) => setImmediate(resolve));
  }
  const [answer] = await once(socket, "data");
  expect(String(answer)).toMatch(/^[0-9a-f]{64}\n$/);
});

test("what only begins like a question goes to the cluster, whole", async () => {
  const { port, heard } = await proxy(createProofSecret());
  const socket = connect({ host: "127.0.0.1", port });
  onTestFinished(() => void socket.destroy());
  socket.write("\0cluster-connect proof of something else, which is longer than the question\n");
  await expect.poll(() => Buffer.concat(heard).toString()).toContain("\0cluster-connect proof of something else");
});

test("each part of a question may still become one, and any other bytes are none", () => {
  for (let length = 0; length < QUESTION.length; length++) {
    expect(readProofQuestion(QUESTION.subarray(0, length))).toEqual({ kind: "incomplete" });
  }
  expect(readProofQuestion(QUESTION)).toEqual({ kind: "question", nonce: "a1".repeat(16) });
  expect(readProofQuestion(Buffer.concat([QUESTION, Buffer.from("x")]))).toEqual({ kind: "none" });
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1 }), (bytes) => {
      if (bytes[0] !== 0) expect(readProofQuestion(bytes)).toEqual({ kind: "none" });
    }),
  );
});
