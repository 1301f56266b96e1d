import { parseInstanceId } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import type { MuxStream } from "../src/index.ts";
import { createFakeClock, createSeededRandom, createSessionChain, TEST_OPEN } from "../src/testing/index.ts";

const ROUNDS = 1_000;
const STREAMS = 100;

test("100,000 streams cancelled in every phase leave no stream, no byte and no timer", async () => {
  const clock = createFakeClock();
  const random = createSeededRandom(1);
  const chain = createSessionChain({}, { clock });
  const { cli, agent, relayToCli, relayToAgent, incoming } = chain;
  await clock.advance(1_000);
  const timers = clock.pendingTimers;
  const taken: MuxStream[] = [];
  void (async () => {
    for (;;) {
      const waiting = await incoming.next();
      if (random.chance(0.1)) waiting.reject("CC_UPSTREAM_UNREACHABLE", "not today");
      else taken.push(waiting.accept({ instanceId: parseInstanceId("agent-01") }));
    }
  })();

  for (let round = 0; round < ROUNDS; round += 1) {
    const opened = Array.from({ length: STREAMS }, () => cli.open(TEST_OPEN));
    await turns(random.integer(0, 3));
    for (const stream of opened) act(stream);
    await turns(random.integer(0, 3));
    for (const stream of taken) act(stream);
    await turns(random.integer(0, 3));
    for (const stream of [...opened, ...taken]) end(stream);
    taken.length = 0;
    await Promise.all(opened.map((stream) => stream.done));
  }

  function act(stream: MuxStream): void {
    const kind = random.integer(0, 5);
    if (kind === 0) stream.write(Buffer.alloc(random.integer(1, 100)));
    else if (kind === 1) stream.end(Buffer.alloc(random.integer(1, random.chance(0.02) ? 400_000 : 4_000)));
    else if (kind === 2) stream.resume();
    else if (kind === 3) stream.destroy();
    else if (kind === 4) stream.reset("CC_CANCELLED", "no longer wanted");
  }

  function end(stream: MuxStream): void {
    stream.resume();
    if (random.chance(0.5)) stream.end();
    else stream.destroy();
    // A side that waits for an end that the other side does not give waits for ever. One of the two gives up.
    if (random.chance(0.9)) stream.destroy();
    else clock.setTimer(0, () => stream.destroy());
  }

  async function turns(count: number): Promise<void> {
    for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    await clock.advance(0);
  }

  await clock.advance(10_000);
  for (const stream of taken) stream.destroy();
  await clock.advance(10_000);
  for (const session of [cli, agent, relayToCli, relayToAgent]) {
    expect(session.counters).toMatchObject({ state: "open", openStreams: 0, bufferedBytes: 0 });
  }
  const ends = await Promise.all(chain.forwards.map((forward) => forward.done));
  expect(ends).toHaveLength(ROUNDS * STREAMS);
  expect(clock.pendingTimers).toBe(timers);
});
