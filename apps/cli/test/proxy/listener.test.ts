import { once } from "node:events";
import { open } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { Duplex, PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import { connect as connectTls, createSecureContext, TLSSocket } from "node:tls";
import { ConnectError, parseClusterId } from "@cluster-connect/protocol";
import { selfSigned } from "@cluster-connect/testkit";
import { expect, onTestFinished, test } from "vitest";
import {
  type LoopbackProxy,
  type LoopbackProxyDeps,
  type OpenedStream,
  startLoopbackProxy,
} from "../../src/proxy/listener.ts";
import type { ServedCluster } from "../../src/proxy/route.ts";

const one = { id: parseClusterId("one"), serverName: "one.test" };
const two = { id: parseClusterId("two"), serverName: "two.test" };

interface Stage {
  readonly proxy: LoopbackProxy;
  readonly failures: { error: ConnectError; cluster: string | undefined }[];
  readonly failed: Promise<void>;
  dial(): Promise<Socket>;
}

async function stage(
  clusters: readonly ServedCluster[],
  open: LoopbackProxyDeps["open"],
  more: Pick<LoopbackProxyDeps, "openFileLimit"> = {},
): Promise<Stage> {
  const stop = new AbortController();
  const failures: Stage["failures"] = [];
  const failed = Promise.withResolvers<void>();
  const proxy = await startLoopbackProxy(
    { port: 0, clusters, signal: stop.signal },
    {
      ...more,
      open,
      onFailure: (error, cluster) => {
        failures.push({ error, cluster: cluster?.id });
        failed.resolve();
      },
    },
  );
  onTestFinished(async () => {
    stop.abort();
    await proxy.closed;
  });
  return {
    proxy,
    failures,
    failed: failed.promise,
    async dial() {
      const socket = connect({ port: proxy.port, host: "127.0.0.1", allowHalfOpen: true });
      await once(socket, "connect");
      return socket;
    },
  };
}

/** A stream whose far end is a socket-like pair of this test. */
function openedStream(accepted: Promise<unknown> = Promise.resolve()): { near: OpenedStream; far: Duplex } {
  const up = new PassThrough();
  const down = new PassThrough();
  const near = Object.assign(Duplex.from({ readable: down, writable: up }), { accepted });
  const far = Duplex.from({ readable: up, writable: down });
  near.on("error", () => {});
  far.on("error", () => {});
  return { near, far };
}

test("bytes pass both ways, and a half-closed side still gets its answer", async () => {
  const { near, far } = openedStream();
  const { dial, failures } = await stage([one], async () => near);
  const socket = await dial();
  socket.end("question");
  const question = await text(far);
  far.end(`answer to ${question}`);
  expect(await text(socket)).toBe("answer to question");
  expect(failures).toEqual([]);
});

test("with several clusters the server name chooses the stream", async () => {
  const asked: string[] = [];
  const chosen = Promise.withResolvers<void>();
  const { proxy } = await stage([one, two], async (cluster) => {
    asked.push(cluster.id);
    chosen.resolve();
    return openedStream().near;
  });
  const client = connectTls({ port: proxy.port, host: "127.0.0.1", servername: "two.test" });
  client.on("error", () => {});
  await chosen.promise;
  client.destroy();
  expect(asked).toEqual(["two"]);
});

test("with several clusters and no match the client gets an alert, and the names that there are are told", async () => {
  const { proxy, failures, failed } = await stage([one, two], async () => openedStream().near);
  const client = connectTls({ port: proxy.port, host: "127.0.0.1", servername: "three.test" });
  const [error] = await once(client, "error");
  expect(error.code).toBe("ERR_SSL_TLSV1_UNRECOGNIZED_NAME");
  await failed;
  expect(failures[0]?.error.code).toBe("CC_CLUSTER_UNKNOWN");
  expect(failures[0]?.error.message).toBe("A connection asks for three.test; this port serves one.test, two.test");
});

test("a refused stream is told to a TLS client as an alert and to the screen with its cluster", async () => {
  const refused = Promise.reject(new ConnectError("CC_AGENT_OFFLINE", "No agent is connected"));
  refused.catch(() => {});
  const { near } = openedStream(refused);
  const { proxy, failures, failed } = await stage([one], async () => near);
  const client = connectTls({ port: proxy.port, host: "127.0.0.1", servername: "one.test" });
  const [error] = await once(client, "error");
  expect(error.code).toBe("ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR");
  await failed;
  expect(failures).toEqual([{ error: expect.objectContaining({ code: "CC_AGENT_OFFLINE" }), cluster: "one" }]);
});

test("a client that leaves while its stream is being opened ends the attempt without a word", async () => {
  const opening = Promise.withResolvers<AbortSignal>();
  const aborted = Promise.withResolvers<void>();
  const { dial, failures } = await stage([one], async (_cluster, { signal }) => {
    opening.resolve(signal);
    return await new Promise<never>((_resolve, reject) => {
      signal.addEventListener("abort", () => {
        aborted.resolve();
        reject(signal.reason);
      });
    });
  });
  const socket = await dial();
  socket.write("x");
  await opening.promise;
  socket.resetAndDestroy();
  await aborted.promise;
  expect(failures).toEqual([]);
});

test("a stream that breaks off resets the client, so that what came never looks complete", async () => {
  const { near, far } = openedStream();
  const { dial, failures, failed } = await stage([one], async () => near);
  const socket = await dial();
  socket.write("question");
  await once(far, "data");
  far.write("half an ans");
  await once(socket, "data");
  near.destroy(new ConnectError("CC_CHANNEL_LOST", "The channel was lost"));
  const [error] = await once(socket, "error");
  expect(error.code).toBe("ECONNRESET");
  await failed;
  expect(failures[0]?.error.code).toBe("CC_CHANNEL_LOST");
});

/** A TLS server behind a stream; what it says from now on may be cut short. */
async function serveTls(
  far: Duplex,
  maxVersion: "TLSv1.2" | "TLSv1.3",
): Promise<{ server: TLSSocket; cutBytes: number }> {
  const raw = new PassThrough();
  const served = { server: new TLSSocket(new PassThrough()), cutBytes: 0 };
  const wire = Duplex.from({ readable: far, writable: raw });
  raw.on("data", (chunk: Buffer) => far.write(chunk.subarray(0, chunk.length - served.cutBytes)));
  const secureContext = createSecureContext({ ...(await selfSigned()), maxVersion });
  served.server = new TLSSocket(wire, { isServer: true, secureContext });
  served.server.on("error", () => {});
  return served;
}

test.each([
  ["TLSv1.2", "between two records", 0],
  ["TLSv1.2", "within a record", 7],
  ["TLSv1.3", "between two records", 0],
  ["TLSv1.3", "within a record", 7],
] as const)("a stream that breaks off is an error of %s to its client, %s", async (version, _where, cutBytes) => {
  const { near, far } = openedStream();
  const served = await serveTls(far, version);
  const { proxy, failed } = await stage([one], async () => near);
  const client = connectTls({ port: proxy.port, host: "127.0.0.1", rejectUnauthorized: false });
  await once(client, "secureConnect");
  served.server.write("first");
  await once(client, "data");
  served.cutBytes = cutBytes;
  served.server.write("second");
  if (cutBytes === 0) await once(client, "data");
  near.destroy(new ConnectError("CC_AGENT_REPLACED", "The agent that held the stream was killed"));
  const [error] = await once(client, "error");
  expect(error.code).toMatch(/^ERR_SSL_/);
  await failed;
});

test("a client that reads nothing does not keep a connection whose stream broke off", async () => {
  const { near, far } = openedStream();
  const { dial, proxy, failed } = await stage([one], async () => near);
  const socket = await dial();
  socket.pause();
  // A TLS record begins like this.
  socket.write(Buffer.from([22, 3, 1, 0, 1, 1]));
  await once(far, "data");
  far.write(Buffer.alloc(16_777_216));
  // The client's side is full.
  await expect.poll(() => near.isPaused()).toBe(true);
  near.destroy(new ConnectError("CC_AGENT_REPLACED", "The agent that held the stream was killed"));
  await failed;
  await expect.poll(() => proxy.connections, { timeout: 60_000 }).toBe(0);
});

test("a connection that closes before it says anything opens nothing", async () => {
  let opened = 0;
  const { dial, proxy, failures } = await stage([one], async () => {
    opened += 1;
    return openedStream().near;
  });
  const socket = await dial();
  socket.end();
  await once(socket.resume(), "close");
  expect({ opened, failures, connections: proxy.connections }).toEqual({ opened: 0, failures: [], connections: 0 });
});

test("a port in use names the process that has it", async () => {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const started = startLoopbackProxy(
    { port, clusters: [one], signal: new AbortController().signal },
    { open: async () => openedStream().near, onFailure: () => {} },
  );
  await expect(started).rejects.toMatchObject({
    code: "CC_PORT_IN_USE",
    message: expect.stringContaining(`Port ${port} is in use by process ${process.pid} (`),
  });
});

test("only this machine can reach the port", async () => {
  const { proxy } = await stage([one], async () => openedStream().near);
  const socket = connect({ port: proxy.port, host: "127.0.0.2" });
  const [error] = await once(socket, "error");
  expect(error.code).toBe("ECONNREFUSED");
});

test("a connection waits for its turn when the relay says when there is room, and loses nothing", async () => {
  const { near, far } = openedStream();
  const limit = new ConnectError("CC_LIMIT_REACHED", "too many at once", { retryAfterMs: 20 });
  let opens = 0;
  const { dial, failures } = await stage([one], async () => {
    opens += 1;
    if (opens === 1) throw limit;
    if (opens === 2) return openedStream(Promise.reject(limit)).near;
    return near;
  });
  const socket = await dial();
  socket.write("question");
  const [bytes] = await once(far, "data");
  expect([String(bytes), opens, failures]).toEqual(["question", 3, []]);
  socket.destroy();
});

test.each<readonly [string, ConnectError]>([
  ["says nothing about when", new ConnectError("CC_LIMIT_REACHED", "too many")],
  ["wants a wait that no handshake lasts", new ConnectError("CC_LIMIT_REACHED", "too many", { retryAfterMs: 60_000 })],
  ["refuses for another reason", new ConnectError("CC_GRANT_MISSING", "no", { retryAfterMs: 20 })],
])("a relay that %s is not asked again", async (_, error) => {
  let opens = 0;
  const { dial, failures, failed } = await stage([one], async () => {
    opens += 1;
    throw error;
  });
  const socket = await dial();
  socket.on("error", () => {}).write("question");
  await failed;
  expect([opens, failures[0]?.error.code]).toEqual([1, error.code]);
});

test("an end that comes while the stream is being opened is passed on", async () => {
  const { near, far } = openedStream();
  const isEnded = Promise.withResolvers<void>();
  const { dial } = await stage([one], async () => {
    await isEnded.promise;
    // The end is on its way within this process: a few turns of its loop bring it.
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    return near;
  });
  const socket = await dial();
  socket.end("question", () => isEnded.resolve());
  expect(await text(far)).toBe("question");
});

test("a stream that is open is not called off when its client leaves: the splice passes on what was said", async () => {
  const { near, far } = openedStream();
  let given: AbortSignal | undefined;
  const { dial, proxy } = await stage([one], async (_cluster, { signal }) => {
    given = signal;
    return near;
  });
  const socket = await dial();
  socket.write("question");
  await once(far, "data");
  socket.resetAndDestroy();
  await expect.poll(() => proxy.connections).toBe(0);
  expect(given?.aborted).toBe(false);
});

test("a drain takes no more connections, closes the idle ones, and waits for those that have half-closed", async () => {
  const streams = [openedStream(), openedStream()];
  let opened = 0;
  const { dial, proxy } = await stage([one], async () => streams[opened++]?.near ?? openedStream().near);
  const [idle, busy] = [await dial(), await dial()];
  idle.on("error", () => {}).resume();
  idle.write("hello");
  await once(streams[0]?.far ?? idle, "data");
  busy.end("question");
  const drained = proxy.drain({ lingerMs: 60_000, signal: new AbortController().signal });
  await once(idle, "end");
  await expect.poll(() => proxy.connections).toBe(1);
  const refused = connect({ port: proxy.port, host: "127.0.0.1" });
  expect((await once(refused, "error"))[0].code).toBe("ECONNREFUSED");
  const far = streams[1]?.far;
  expect(await text(far ?? new PassThrough())).toBe("question");
  far?.end();
  busy.resume();
  expect(await drained).toBe(0);
});

test("a connection that came just before the drain is served", async () => {
  const { near, far } = openedStream();
  const { proxy } = await stage([one], async () => near);
  const socket = connect({ port: proxy.port, host: "127.0.0.1", allowHalfOpen: true });
  await once(socket, "connect");
  socket.end("question");
  const drained = proxy.drain({ lingerMs: 60_000, signal: new AbortController().signal });
  expect(await text(far)).toBe("question");
  far.end();
  socket.resume();
  expect(await drained).toBe(0);
});

test("a drain ends at its time, and at once when it is called off, and tells how many are left", async () => {
  const { dial, proxy } = await stage([one], async () => openedStream().near);
  const socket = await dial();
  socket.on("error", () => {}).end("question");
  expect(await proxy.drain({ lingerMs: 200, signal: new AbortController().signal })).toBe(1);
  expect(await proxy.drain({ lingerMs: 600_000, signal: AbortSignal.abort() })).toBe(1);
});

test("at the limit of open files a connection is refused at once with a code, and those that are there go on", async () => {
  const { near, far } = openedStream();
  let limit: number | undefined;
  const { dial, proxy, failures, failed } = await stage([one], async () => near, { openFileLimit: () => limit });
  const kept = await dial();
  kept.on("error", () => {});
  kept.write("x");
  await once(far, "data");
  // Every further file of this process is one of the last ones from here on.
  const files = await Promise.all(Array.from({ length: 64 }, () => open("/dev/null")));
  onTestFinished(async () => void (await Promise.all(files.map((file) => file.close()))));
  limit = 1;
  const client = connectTls({ port: proxy.port, host: "127.0.0.1", servername: "one.test" });
  const [error] = await once(client, "error");
  expect(error.code).toBe("ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR");
  await failed;
  expect(failures[0]?.error).toMatchObject({ code: "CC_LIMIT_REACHED", hint: expect.stringContaining("ulimit -n") });
  kept.write("y");
  expect(String((await once(far, "data"))[0])).toBe("y");
  kept.destroy();
});
