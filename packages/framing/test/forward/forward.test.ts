import { text } from "node:stream/consumers";
import {
  encodeU64,
  encodeWindow,
  INITIAL_WINDOW_BYTES,
  parseInstanceId,
  parseStreamId,
} from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import { encodeFrame } from "../../src/frames/encode.ts";
import { createBudget, type MuxStream } from "../../src/index.ts";
import {
  createFakeClock,
  createSessionChain,
  openStream,
  readAll,
  sendMessage,
  TEST_OPEN,
} from "../../src/testing/index.ts";

const FEW_TURNS = 50;

test("a stream passes through the relay both ways and is forgotten when both ends are done", async () => {
  const clock = createFakeClock();
  const { cli, incoming, relayToCli, relayToAgent, forwards } = createSessionChain({}, { clock });
  const [near, far] = await openStream(cli, incoming);
  const up = Buffer.alloc(2_000_000, "up");
  const down = Buffer.alloc(1_000_000, "down");
  near.end(up);
  far.end(down);
  const [atAgent, atCli] = await Promise.all([readAll(far), readAll(near)]);
  expect(atAgent.equals(up)).toBe(true);
  expect(atCli.equals(down)).toBe(true);
  await expect(forwards[0]?.done).resolves.toEqual({
    error: undefined,
    upBytes: up.length,
    downBytes: down.length,
  });
  expect(relayToCli.counters.openStreams).toBe(0);
  expect(relayToAgent.counters.openStreams).toBe(0);
});

test("the agent's refusal reaches the CLI with its code", async () => {
  const { cli, incoming, forwards } = createSessionChain({}, { clock: createFakeClock() });
  const near = cli.open(TEST_OPEN);
  (await incoming.next()).reject("CC_UPSTREAM_UNREACHABLE", "no auth proxy");
  await expect(near.accepted).rejects.toMatchObject({ code: "CC_UPSTREAM_UNREACHABLE" });
  await expect(forwards[0]?.answered).rejects.toMatchObject({ code: "CC_UPSTREAM_UNREACHABLE" });
});

test("the loss of one leg is told to the other", async () => {
  const { cli, incoming, agentChannel, relayToCli } = createSessionChain({}, { clock: createFakeClock() });
  const [near, far] = await openStream(cli, incoming);
  agentChannel.cut();
  await expect(near.done).resolves.toMatchObject({ error: { code: "CC_CHANNEL_LOST" } });
  await expect(far.done).resolves.toMatchObject({ error: { code: "CC_CHANNEL_LOST" } });
  expect(relayToCli.counters.openStreams).toBe(0);
});

test("credit is end to end: an agent that does not read stops the CLI", async () => {
  const clock = createFakeClock();
  const { cli, incoming } = createSessionChain({}, { clock });
  const [near, far] = await openStream(cli, incoming);
  near.write(Buffer.alloc(4 * INITIAL_WINDOW_BYTES));
  await clock.advance(FEW_TURNS);
  expect(near.bytesSent).toBe(INITIAL_WINDOW_BYTES);
  far.resume();
  await clock.advance(FEW_TURNS);
  expect(near.bytesSent).toBe(4 * INITIAL_WINDOW_BYTES);
});

test("an endpoint that goes beyond its credit has its stream reset by the relay, and only that", async () => {
  const clock = createFakeClock();
  const { cli, agent, incoming } = createSessionChain({}, { clock });
  const [near] = await openStream(cli, incoming);
  const [other, otherFar] = await openStream(cli, incoming);
  // The CLI believes in credit that no receiver gave.
  near.endpoint.frame({
    type: "WINDOW",
    streamId: parseStreamId(1),
    payload: encodeWindow({ consumed: 0, windowBytes: 8 * INITIAL_WINDOW_BYTES }),
  });
  near.write(Buffer.alloc(4 * INITIAL_WINDOW_BYTES));
  await expect(near.done).resolves.toMatchObject({ error: { code: "CC_FLOW_CONTROL" } });
  other.end("still here");
  expect(await text(otherFar)).toBe("still here");
  expect(agent.state).toBe("open");
});

test("a CLI that takes nothing costs the relay no more than its budget; what it resets may be resumed", async () => {
  const clock = createFakeClock();
  const relayBuffers = createBudget(1_000_000);
  const { cli, incoming, cliChannel, relayToCli } = createSessionChain({ relayBuffers }, { clock });
  const far: MuxStream[] = [];
  for (let count = 0; count < 20; count += 1) far.push((await openStream(cli, incoming))[1]);
  cliChannel.stall();
  for (const stream of far) stream.write(Buffer.alloc(INITIAL_WINDOW_BYTES));
  await clock.advance(FEW_TURNS);
  expect(relayBuffers.usedBytes).toBeGreaterThan(500_000);
  expect(relayBuffers.usedBytes).toBeLessThanOrEqual(1_000_000 + 65_536);
  expect(relayToCli.state).toBe("open");
  const ends = await Promise.all(far.filter((stream) => stream.destroyed).map((stream) => stream.done));
  expect(ends.length).toBeGreaterThan(10);
  for (const end of ends) expect(end).toMatchObject({ error: { code: "CC_CHANNEL_LOST" } });
  relayToCli.close();
  expect(relayBuffers.usedBytes).toBe(0);
});

test("credit without end costs the relay no more than its newest word, however slow the other leg", async () => {
  const clock = createFakeClock();
  const { cli, agent, incoming, cliChannel, agentChannel, relayToAgent } = createSessionChain({}, { clock });
  const [near, far] = await openStream(cli, incoming);
  await near.accepted;
  agentChannel.stall("acceptor");
  const credit = (windowBytes: number) =>
    encodeFrame({ type: "WINDOW", streamId: 1, parts: [encodeWindow({ consumed: 0, windowBytes })] });
  for (let count = 1; count <= 100_000; count += 1) {
    sendMessage(cliChannel.dialer, [credit(INITIAL_WINDOW_BYTES + count)]);
    if (count % 1_000 === 0) await clock.settle();
  }
  expect(agentChannel.acceptor.bufferedBytes).toBeLessThan(1_100_000);
  agentChannel.unstall();
  await clock.advance(FEW_TURNS);
  far.write(Buffer.alloc(INITIAL_WINDOW_BYTES + 200_000));
  await clock.advance(FEW_TURNS);
  expect(far.bytesSent).toBe(INITIAL_WINDOW_BYTES + 100_000);
  expect([cli, agent, relayToAgent].map(({ state }) => state)).toEqual(["open", "open", "open"]);
});

test("FIN that is said again and again is not passed on: the stream is reset", async () => {
  const clock = createFakeClock();
  const { cli, incoming, cliChannel } = createSessionChain({}, { clock });
  const [near, far] = await openStream(cli, incoming);
  await near.accepted;
  const fin = encodeFrame({ type: "FIN", streamId: 1, parts: [encodeU64(0)] });
  sendMessage(cliChannel.dialer, [fin]);
  sendMessage(cliChannel.dialer, [fin]);
  await expect(far.done).resolves.toMatchObject({ error: { code: "CC_STREAM_STATE" } });
});

test("a session that takes no more streams leaves the incoming one to be answered otherwise", async () => {
  const clock = createFakeClock();
  const { cli, relayToAgent, forwards } = createSessionChain({}, { clock });
  relayToAgent.close();
  const near = cli.open(TEST_OPEN);
  await expect(near.accepted).rejects.toMatchObject({ code: "CC_SESSION_CLOSED" });
  expect(forwards).toHaveLength(0);
});

test("a CLI that gives up before the answer leaves nothing behind", async () => {
  const clock = createFakeClock();
  const { cli, incoming, relayToCli, relayToAgent, agent } = createSessionChain({}, { clock });
  const abort = new AbortController();
  const near = cli.open(TEST_OPEN, { signal: abort.signal });
  const waiting = await incoming.next();
  abort.abort();
  await clock.settle();
  expect(waiting.signal.aborted).toBe(true);
  expect(waiting.accept({ instanceId: parseInstanceId("agent-01") }).destroyed).toBe(true);
  expect(near.destroyed).toBe(true);
  expect([cli, relayToCli, relayToAgent, agent].map((session) => session.counters.openStreams)).toEqual([0, 0, 0, 0]);
});
