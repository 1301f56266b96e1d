import { once } from "node:events";
import type { Socket } from "node:net";
import { text } from "node:stream/consumers";
import { createStreamOpener } from "@cluster-connect/framing";
import { decodeEnd, parseClusterId, parseSecret } from "@cluster-connect/protocol";
import { describe, expect, test } from "vitest";
import {
  CALLER,
  CORRELATION_ID,
  configFor,
  listenAsProxy,
  listenHttp,
  listenTcp,
  SESSION_ID,
  startTestAgent,
} from "./support/fixture.ts";
import { startTestRelay } from "./support/test-relay.ts";

const OPEN = {
  cluster: parseClusterId("prod"),
  upstream: "kubernetes",
  correlationId: CORRELATION_ID,
  caller: CALLER,
  sessionId: SESSION_ID,
};

async function started(serve?: (socket: Socket) => void) {
  const relay = await startTestRelay();
  const config = await configFor(relay);
  if (serve !== undefined) await listenAsProxy(config, serve);
  const { agent, log, health } = await startTestAgent(config);
  return { relay, config, agent, log, health, session: await relay.nextSession() };
}

describe("a stream to kubernetes", () => {
  test("begins with a PROXY header that names caller, session and correlation, then carries the bytes", async () => {
    const received = Promise.withResolvers<Buffer>();
    const { session } = await started((socket) => {
      const chunks: Buffer[] = [];
      socket.on("data", (chunk) => chunks.push(chunk));
      socket.on("end", () => {
        received.resolve(Buffer.concat(chunks));
        socket.end("bye");
      });
    });
    const stream = session.open(OPEN);
    stream.end("hello");
    await expect(text(stream)).resolves.toBe("bye");
    const bytes = await received.promise;
    expect(bytes.subarray(0, 16).toString("hex")).toBe("0d0a0d0a000d0a515549540a2111003d");
    expect(bytes.subarray(16, 28).toString("hex")).toBe("c6336407000000000000" + "0000");
    expect(bytes.subarray(28).toString("latin1")).toBe(
      "\xe0\x00\x0fsession-of-jane\xe1\x00\x100123456789abcdef\xe2\x00\x09oidc:janehello",
    );
  });

  test("keeps one direction open when the other ends", async () => {
    const { session } = await started((socket) => {
      socket.write("first");
      socket.resume();
      socket.on("end", () => socket.end(" last"));
    });
    const stream = session.open(OPEN);
    await once(stream, "readable");
    stream.end();
    await expect(text(stream)).resolves.toBe("first last");
    await expect(stream.done).resolves.toEqual({ kind: "finished" });
  });

  test("is reset when the auth proxy breaks off", async () => {
    const relay = await startTestRelay();
    const { address } = await listenTcp((socket) => void socket.once("data", () => socket.resetAndDestroy()));
    const config = await configFor(relay);
    await startTestAgent({ ...config, authProxy: { ...config.authProxy, address } });
    const stream = (await relay.nextSession()).open(OPEN);
    await expect(stream.done).resolves.toMatchObject({ kind: "reset" });
  });

  test("ends when the auth proxy goes away, and is over once the caller ends it too", async () => {
    const { session } = await started((socket) => void socket.once("data", () => socket.destroy()));
    const stream = session.open(OPEN);
    await expect(text(stream)).resolves.toBe("");
    stream.end();
    await stream.done;
    expect(session.counters.openStreams).toBe(0);
  });

  test("that is reset closes the socket to the auth proxy", async () => {
    const ended = Promise.withResolvers<void>();
    const { session } = await started((socket) => {
      socket.on("error", () => ended.resolve());
      socket.on("end", () => ended.resolve());
      socket.resume();
    });
    const stream = session.open(OPEN);
    await stream.accepted;
    stream.reset("CC_SESSION_ENDED", "ended by an administrator");
    await ended.promise;
  });

  test("is refused when nothing listens, with the hop that is missing", async () => {
    const { session, config } = await started();
    const path = config.authProxy.address.kind === "socket" ? config.authProxy.address.path : "";
    await expect(session.open(OPEN).accepted).rejects.toMatchObject({
      code: "CC_UPSTREAM_UNREACHABLE",
      message: `The upstream kubernetes at ${path} cannot be reached: ENOENT`,
    });
  });

  test("of a thousand bytes many times over is never short", async () => {
    const { session } = await started((socket) => {
      let header = true;
      socket.on("data", (chunk) => {
        socket.write(header ? chunk.subarray(16 + chunk.readUInt16BE(14)) : chunk);
        header = false;
      });
      socket.on("end", () => socket.end());
    });
    const lengths = await Promise.all(
      Array.from({ length: 200 }, async () => {
        const stream = session.open(OPEN);
        stream.end("x".repeat(1_000));
        return (await text(stream)).length;
      }),
    );
    expect(new Set(lengths)).toEqual(new Set([1_000]));
    expect(session.counters.openStreams).toBe(0);
  });
});

test("a stream to a configured upstream carries the bytes and nothing before them", async () => {
  const relay = await startTestRelay();
  const echo = await configFor(relay);
  await listenAsProxy(echo, (socket) => void socket.pipe(socket));
  const config = await configFor(relay, { upstreams: { echo: echo.authProxy.address } });
  await startTestAgent(config);
  const session = await relay.nextSession();
  const stream = session.open({ ...OPEN, upstream: "echo" });
  stream.end("hello");
  await expect(text(stream)).resolves.toBe("hello");
});

test("a stream to an upstream that is not configured is refused", async () => {
  const { session } = await started();
  for (const upstream of ["elsewhere", "constructor", "__proto__"]) {
    await expect(session.open({ ...OPEN, upstream }).accepted).rejects.toMatchObject({
      code: "CC_UPSTREAM_UNREACHABLE",
    });
  }
});

describe("a probe", () => {
  const probe = async (answer: { status: number; body: string }) => {
    const relay = await startTestRelay();
    const config = await configFor(relay);
    const healthUrl = await listenHttp(() => answer);
    await startTestAgent({ ...config, authProxy: { ...config.authProxy, healthUrl } });
    const session = await relay.nextSession();
    return JSON.parse(await text(session.open({ ...OPEN, upstream: "probe" }).end()));
  };
  const report = (ok: boolean, ...checks: readonly { name: string; ok: boolean; text: string }[]) => ({
    status: ok ? 200 : 503,
    body: JSON.stringify({ ok, checks }),
  });

  test("says that all is well when the auth proxy says so of the kube-apiserver", async () => {
    await expect(probe(report(true, { name: "apiserver", ok: true, text: "answers" }))).resolves.toEqual({
      agent: { ok: true, text: "running" },
      authProxy: { ok: true, text: "ready" },
      apiserver: { ok: true, text: "answers" },
    });
  });

  test("tells a kube-apiserver that is away from an auth proxy that is not ready", async () => {
    const away = { name: "apiserver", ok: false, text: "connection refused" };
    await expect(probe(report(false, away))).resolves.toMatchObject({
      authProxy: { ok: true },
      apiserver: { ok: false, text: "connection refused" },
    });
    const issuer = { name: "issuers", ok: false, text: "no keys" };
    await expect(probe(report(false, issuer, { ...away, ok: true }))).resolves.toMatchObject({
      authProxy: { ok: false, text: "issuers: no keys" },
      apiserver: { ok: true },
    });
  });

  test("does not take silence about the kube-apiserver, or another answer, for health", async () => {
    await expect(probe(report(true))).resolves.toMatchObject({ apiserver: { ok: false } });
    await expect(probe({ status: 200, body: "ok" })).resolves.toMatchObject({ authProxy: { ok: false } });
  });

  test("of an auth proxy that does not listen says so", async () => {
    const { session } = await started();
    const document = JSON.parse(await text(session.open({ ...OPEN, upstream: "probe" }).end()));
    expect(document.authProxy).toEqual({ ok: false, text: expect.stringMatching(/^no health answer: /) });
  });
});

test("a stream for another cluster is refused, whatever the relay took the agent for", async () => {
  const { session } = await started();
  const cluster = parseClusterId("other");
  await expect(session.open({ ...OPEN, cluster }).accepted).rejects.toMatchObject({ code: "CC_CLUSTER_UNKNOWN" });
  const probe = session.open({ ...OPEN, cluster, upstream: "probe" });
  await expect(probe.accepted).rejects.toMatchObject({ code: "CC_CLUSTER_UNKNOWN" });
});

describe("the tunnel", () => {
  test("is proved with the enrolled key and shows the authorities", async () => {
    const { relay } = await started();
    expect(relay.hellos[0]).toMatchObject({
      role: "agent",
      software: "agent/test",
      agent: {
        clusterId: "prod",
        authority: relay.url.host,
        clusterAuthorities: expect.stringContaining("BEGIN CERTIFICATE"),
      },
    });
  });

  test("is dialed again when the relay was restarted, with the same key and instance", async () => {
    const { relay, health, log } = await started();
    await relay.stop();
    await log.once("tunnel.closed");
    expect(await health.ready()).toMatchObject({ ok: false });
    await relay.start();
    await relay.nextSession();
    const [before, after] = relay.hellos;
    expect(after?.agent?.keyId).toBe(before?.agent?.keyId);
    expect(after?.instanceId).toBe(before?.instanceId);
  });

  test("whose key is refused is tried again, and readiness says why", async () => {
    const relay = await startTestRelay();
    relay.behaviour.acceptProof = false;
    const { log, health } = await startTestAgent(await configFor(relay));
    await expect(log.once("tunnel.closed")).resolves.toMatchObject({ code: "CC_AGENT_KEY_REFUSED" });
    const { checks } = await health.ready();
    expect(checks[0]?.text).toContain("The agent's key is not enrolled for this cluster");
    relay.behaviour.acceptProof = true;
    await relay.nextSession();
  });

  test("drains: streams end first, and nothing is dialed again", async () => {
    const { agent, session, relay } = await started((socket) => {
      socket.resume();
      socket.on("end", () => socket.end("done"));
    });
    const stream = session.open(OPEN);
    await stream.accepted;
    const drained = agent.drain({ deadlineMs: 10_000, signal: new AbortController().signal });
    stream.end();
    await expect(text(stream)).resolves.toBe("done");
    await drained;
    await agent.close();
    expect(relay.hellos).toHaveLength(1);
  });

  test("closes what is left at the drain's deadline", async () => {
    const { agent, session } = await started((socket) => void socket.resume());
    const stream = session.open(OPEN);
    await stream.accepted;
    await agent.drain({ deadlineMs: 50, signal: new AbortController().signal });
    await expect(stream.done).resolves.toMatchObject({ kind: "reset" });
  });

  test("tells openers at the drain's deadline, who would wait for it to come back otherwise", async () => {
    const { agent, session } = await started((socket) => void socket.resume());
    const { signal } = new AbortController();
    const opener = createStreamOpener();
    opener.use(session);
    const stream = await opener.open({ ...OPEN, graceMs: 60_000 }, { signal });
    await stream.accepted;
    await agent.drain({ deadlineMs: 50, signal });
    await expect(stream.done).resolves.toMatchObject({ kind: "reset", error: { code: "CC_DRAINING" } });
  });
});

describe("a stream whose tunnel is lost", () => {
  const signal = new AbortController().signal;

  test("keeps its socket to the auth proxy and goes on over the next tunnel", async () => {
    let sockets = 0;
    const { relay, session } = await started((socket) => {
      sockets += 1;
      socket.once("data", (header) => {
        socket.write(header.subarray(16 + header.readUInt16BE(14)));
        socket.pipe(socket);
      });
    });
    const opener = createStreamOpener();
    opener.use(session);
    const stream = await opener.open(OPEN, { signal });
    const received = text(stream);
    stream.write("before ");
    await stream.accepted;
    await relay.stop();
    stream.write("meanwhile ");
    await relay.start();
    opener.use(await relay.nextSession());
    stream.end("after");
    await expect(received).resolves.toBe("before meanwhile after");
    await expect(stream.done).resolves.toEqual({ kind: "finished" });
    expect(sockets).toBe(1);
  });

  test("ends when nobody resumes it within the grace time", async () => {
    const relay = await startTestRelay();
    const config = await configFor(relay, { resumeGraceSeconds: 0.05 });
    const ended = Promise.withResolvers<void>();
    await listenAsProxy(config, (socket) => void socket.resume().once("end", () => ended.resolve()));
    await startTestAgent(config);
    const opener = createStreamOpener();
    opener.use(await relay.nextSession());
    await (await opener.open(OPEN, { signal })).accepted;
    await relay.stop();
    await ended.promise;
    opener.close();
  });

  test("that was never held cannot be resumed", async () => {
    const { session } = await started();
    const answer = Promise.withResolvers<unknown>();
    const instanceId = session.peer?.instanceId;
    if (instanceId === undefined) throw new Error("not ready");
    session.addMember(
      {
        frame: ({ type, payload }) => answer.resolve({ type, ...decodeEnd(payload) }),
        fail: () => undefined,
        lost: () => undefined,
        turn: () => ({ bytes: 0, more: false }),
      },
      {
        kind: "resume",
        resume: {
          cluster: OPEN.cluster,
          instanceId,
          key: parseSecret("A".repeat(43)),
          attempt: 1,
          received: 0,
          consumed: 0,
          windowBytes: 1,
          viaPeer: false,
        },
      },
    );
    await expect(answer.promise).resolves.toMatchObject({ type: "REJECT", code: "CC_RESUME_UNKNOWN" });
  });
});

test("behind one name with one relay there is one tunnel, and the agent is ready", async () => {
  const relay = await startTestRelay();
  const { health, log } = await startTestAgent(await configFor(relay, { relay: { urls: [relay.url], tunnels: 2 } }));
  await relay.nextSession();
  await Promise.all([log.once("tunnel.open"), log.once("tunnel.spare")]);
  expect(relay.hellos).toHaveLength(1);
  await expect(health.ready()).resolves.toMatchObject({ ok: true });
});
