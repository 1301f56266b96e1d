import { createHash, randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { CLUSTERS_ANSWER } from "@cluster-connect/api";
import {
  createResumeRegistry,
  createStreamOpener,
  dialSession,
  type IncomingStream,
  type MuxStream,
} from "@cluster-connect/framing";
import { dialWebSocket } from "@cluster-connect/framing/ws";
import { createInstanceId } from "@cluster-connect/service";
import { selfSigned } from "@cluster-connect/testkit";
import { expect, onTestFinished, test, vi } from "vitest";
import { LIMIT_SCHEMA } from "../../src/quota/limit-settings.ts";
import { ask } from "../support/admin.ts";
import { dialAgent, dialCli, enrollAgent, type Fixture, openRequest, opsToken } from "../support/fixture.ts";
import { startFleet } from "../support/fleet.ts";

const signal = new AbortController().signal;

async function two(): Promise<readonly [Fixture, Fixture]> {
  const [a, b] = await startFleet(2);
  if (a === undefined || b === undefined) throw new Error("two relays were asked for");
  return [a, b];
}

/** Waits until the store says that there are so many tunnels. */
async function tunnelsKnown({ store }: Fixture, count: number): Promise<void> {
  await vi.waitUntil(async () => (await store.db.selectFrom("tunnels").select("id").execute()).length === count, {
    timeout: 30_000,
  });
}

test("a caller of one relay reaches the agent of another", async () => {
  const [a, b] = await two();
  const agent = await enrollAgent(a);
  const request = Promise.withResolvers<IncomingStream["request"]>();
  const tunnel = await dialAgent(b, agent, {
    onStream: (incoming) => {
      request.resolve(incoming.request);
      const stream = incoming.accept({ instanceId: agent.instanceId });
      stream.pipe(stream);
    },
  });
  await tunnel.ready;
  await tunnelsKnown(a, 1);
  const cli = await dialCli(a, await opsToken(a));
  const stream = cli.open(openRequest());
  stream.end("hello");
  await expect(text(stream)).resolves.toBe("hello");
  const { sessionId } = await cli.ready;
  await expect(request.promise).resolves.toMatchObject({
    kind: "open",
    open: { viaPeer: false, sessionId, caller: { subject: "jane", username: "jane" } },
  });
});

test("a stream that comes from a peer counts against its caller here as well, until it ends", async () => {
  const [a, b] = await startFleet(2, { config: { limits: LIMIT_SCHEMA.parse({ streamsPerCaller: 2 }) } });
  if (a === undefined || b === undefined) throw new Error("two relays were asked for");
  const agent = await enrollAgent(a);
  await (await dialAgent(b, agent)).ready;
  await tunnelsKnown(a, 1);
  const far = await dialCli(a, await opsToken(a));
  const streams = [far.open(openRequest()), far.open(openRequest())];
  await Promise.all(streams.map(({ accepted }) => accepted));
  const near = await dialCli(b, await opsToken(b));
  await expect(near.open(openRequest()).accepted).rejects.toMatchObject({
    code: "CC_LIMIT_REACHED",
    message: "At most 2 streams of one caller",
  });
  const other = await dialCli(b, await opsToken(b, { sub: "joe" }));
  await other.open(openRequest()).accepted;
  await Promise.all(streams.map((stream) => text(stream.end())));
  await vi.waitFor(async () => await near.open(openRequest()).accepted, { timeout: 30_000 });
});

test("a tunnel of the caller's own relay is preferred", async () => {
  const [a, b] = await two();
  const [near, far] = [await enrollAgent(a), await enrollAgent(a)];
  await (await dialAgent(b, far)).ready;
  await (await dialAgent(a, near)).ready;
  await tunnelsKnown(a, 2);
  const cli = await dialCli(a, await opsToken(a));
  for (let count = 0; count < 3; count += 1) {
    await expect(cli.open(openRequest()).accepted).resolves.toMatchObject({ instanceId: near.instanceId });
  }
});

test("an agent that left one relay for another is found there", async () => {
  const [a, b] = await two();
  const agent = await enrollAgent(a);
  const first = await dialAgent(b, agent);
  await first.ready;
  await tunnelsKnown(a, 1);
  const cli = await dialCli(a, await opsToken(a));
  await cli.open(openRequest()).accepted;
  first.close();
  await b.log.once("tunnel.closed");
  await (await dialAgent(a, agent)).ready;
  await expect(cli.open(openRequest()).accepted).resolves.toMatchObject({ instanceId: agent.instanceId });
});

test("a stream goes on at another relay, to an agent at a third, without a lost or repeated byte", async () => {
  const [a, b, c] = await startFleet(3);
  if (a === undefined || b === undefined || c === undefined) throw new Error("three relays were asked for");
  const agent = await enrollAgent(a);
  const registry = createResumeRegistry();
  onTestFinished(() => registry.close());
  const onStream = (incoming: IncomingStream): void => {
    const held = registry.answer(incoming, { instanceId: agent.instanceId, graceMs: 30_000 });
    held?.pipe(held);
  };
  await (await dialAgent(c, agent, { onStream })).ready;
  await tunnelsKnown(a, 1);
  const opener = createStreamOpener();
  const cli = await dialCli(a, await opsToken(a));
  opener.use(cli);
  const stream = await opener.open(openRequest(), { signal });
  const sent = randomBytes(2_000_000);
  const received = hashOf(stream);
  stream.write(sent.subarray(0, 1_000_000));
  await vi.waitUntil(() => stream.bytesTaken > 100_000, { timeout: 30_000 });
  cli.close();
  opener.use(await dialCli(b, await opsToken(b)));
  stream.end(sent.subarray(1_000_000));
  await expect(received).resolves.toBe(createHash("sha256").update(sent).digest("hex"));
});

test("a stream that its peer cannot serve any more is opened again on another way", async () => {
  const [a, b] = await two();
  const agent = await enrollAgent(a);
  const refused = Promise.withResolvers<void>();
  let opens = 0;
  const onStream = (incoming: IncomingStream): void => {
    opens += 1;
    if (opens === 1) {
      incoming.reject("CC_DRAINING", "This agent leaves");
      refused.resolve();
      return;
    }
    const stream = incoming.accept({ instanceId: agent.instanceId });
    stream.pipe(stream);
  };
  await (await dialAgent(b, agent, { onStream })).ready;
  await tunnelsKnown(a, 1);
  const opener = createStreamOpener();
  opener.use(await dialCli(a, await opsToken(a)));
  const stream = await opener.open(openRequest(), { signal, reopen: true });
  stream.end("hello");
  await refused.promise;
  await expect(text(stream)).resolves.toBe("hello");
});

test("a relay says how many there are, and what it holds is known to the others until it leaves", async () => {
  const [a, b] = await two();
  const agent = await enrollAgent(a);
  const tunnel = await dialAgent(b, agent);
  await tunnel.ready;
  expect(tunnel.peer?.liveRelays).toBe(2);
  await tunnelsKnown(a, 1);
  await b.stop();
  await tunnelsKnown(a, 0);
  const cli = await dialCli(a, await opsToken(a));
  await expect(cli.open(openRequest()).accepted).rejects.toMatchObject({ code: "CC_AGENT_OFFLINE" });
});

test("each relay lists a cluster in the same way, also one without a tunnel of its own", async () => {
  const relays = await startFleet(3);
  const [a, b, c] = relays;
  if (a === undefined || b === undefined || c === undefined) throw new Error("three relays were asked for");
  const [one, two] = [await enrollAgent(a), await enrollAgent(a)];
  const tunnels = [await dialAgent(a, one), await dialAgent(b, one), await dialAgent(b, two)];
  await Promise.all(tunnels.map(({ ready }) => ready));
  const lists = async () => {
    const answers = await Promise.all(relays.map((relay) => ask(relay, "GET", "/v1/clusters", { as: "jane" })));
    // Seconds since an agent was seen are of the moment of the question.
    const seen = { lastSeenAt: null, lastSeenSeconds: null };
    return answers.flatMap(({ body }) => CLUSTERS_ANSWER.parse(body).clusters.map((found) => ({ ...found, ...seen })));
  };
  const same = async (status: string, agents: number) => {
    const found = await lists();
    expect(found.map((cluster) => [cluster.status, cluster.agents.length])).toEqual([
      [status, agents],
      [status, agents],
      [status, agents],
    ]);
    expect(found[1]).toEqual(found[0]);
    expect(found[2]).toEqual(found[0]);
  };
  await vi.waitFor(async () => await same("connected", 2), { timeout: 30_000 });
  for (const tunnel of tunnels) tunnel.close();
  await vi.waitFor(async () => await same("offline", 0), { timeout: 30_000 });
});

test("streams that are being opened while their relay drains are opened at the other one, each byte once", async () => {
  const [a, b] = await two();
  const agent = await enrollAgent(a);
  await (await dialAgent(b, agent)).ready;
  await (await dialAgent(a, agent)).ready;
  await tunnelsKnown(a, 2);
  const opener = createStreamOpener();
  onTestFinished(() => opener.close());
  const cli = await dialCli(a, await opsToken(a));
  await cli.ready;
  opener.use(cli);
  const drained = a.relay.drain({ deadlineMs: 10_000, signal });
  // The caller has not heard of it yet, so each of these is on its way when GOAWAY is.
  const answers = Array.from({ length: 20 }, async (_, number) => {
    const stream = await opener.open(openRequest(), { signal, reopen: true });
    stream.end(`stream ${number}`);
    return await text(stream);
  });
  await cli.draining;
  opener.use(await dialCli(b, await opsToken(b)));
  await expect(Promise.all(answers)).resolves.toEqual(Array.from({ length: 20 }, (_, number) => `stream ${number}`));
  await drained;
  await expect(dialCli(a, await opsToken(a))).rejects.toMatchObject({ code: "CC_DRAINING" });
});

async function hashOf(stream: MuxStream): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of stream) hash.update(chunk);
  return hash.digest("hex");
}

/** Dials the port for relays with this certificate, as the relay with this id. */
async function dialPeer(
  fixture: Fixture,
  tls: { readonly cert: string; readonly key: string; readonly ca: string },
  instanceId = createInstanceId(),
) {
  const url = new URL(`https://${fixture.config.peers?.address}/v1/peer`);
  const channel = await dialWebSocket(url, { signal: AbortSignal.timeout(10_000), tls });
  return dialSession(channel, { role: "peer", instanceId, software: "peer/test" });
}

test("the port for relays takes nobody without a certificate of their authority", async () => {
  const [a] = await two();
  const ca = await readFile(a.config.peers?.caFile ?? "", "utf8");
  const other = await selfSigned();
  await expect(dialPeer(a, { ...other, ca })).rejects.toMatchObject({ code: "CC_RELAY_UNREACHABLE" });
});

test("the port for relays takes no certificate for a relay that the store does not know", async () => {
  const [a] = await two();
  const [ca, key] = [
    await readFile(a.config.peers?.caFile ?? "", "utf8"),
    await readFile(a.config.peers?.keyFile ?? "", "utf8"),
  ];
  const session = await dialPeer(a, { cert: ca, key, ca });
  await expect(session.ready).rejects.toMatchObject({ code: "CC_PEER_REFUSED" });
});

test("a session of a caller or an agent is no session of a relay, whatever it says", async () => {
  const [a] = await two();
  const channel = await dialWebSocket(new URL("/v1/connect", a.url), {
    signal: AbortSignal.timeout(10_000),
    headers: { authorization: `Bearer ${await opsToken(a)}` },
  });
  const asPeer = dialSession(channel, { role: "peer", instanceId: createInstanceId(), software: "peer/test" });
  await expect(asPeer.ready).rejects.toMatchObject({ code: "CC_PROTOCOL" });
  const response = await dialWebSocket(new URL("/v1/peer", a.url), { signal: AbortSignal.timeout(10_000) }).catch(
    (error: unknown) => error,
  );
  expect(response).toMatchObject({ code: "CC_REQUEST_REFUSED" });
});
