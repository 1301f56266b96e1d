import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { Duplex, PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import { connect as connectTls } from "node:tls";
import { ConnectError, parseClusterId } from "@cluster-connect/protocol";
import { expect, onTestFinished, test } from "vitest";
import {
  type LocalProxy,
  type LocalProxyDeps,
  type OpenedStream,
  startLocalProxy,
} from "../../src/local-proxy/listener.ts";
import type { ServedCluster } from "../../src/local-proxy/route.ts";

const one = { id: parseClusterId("one"), serverName: "one.test" };
const two = { id: parseClusterId("two"), serverName: "two.test" };

interface Stage {
  readonly proxy: LocalProxy;
  readonly failures: { error: ConnectError; cluster: string | undefined }[];
  readonly failed: Promise<void>;
  dial(): Promise<Socket>;
}

async function stage(clusters: readonly ServedCluster[], open: LocalProxyDeps["open"]): Promise<Stage> {
  const stop = new AbortController();
  const failures: Stage["failures"] = [];
  const failed = Promise.withResolvers<void>();
  const proxy = await startLocalProxy(
    { port: 0, clusters, signal: stop.signal },
    {
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
  const started = startLocalProxy(
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
