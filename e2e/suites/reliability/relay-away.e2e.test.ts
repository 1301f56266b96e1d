import { setTimeout as delay } from "node:timers/promises";
import { describe, test } from "vitest";
import { CUT } from "../../src/faults/cut.ts";
import { expectWithin } from "../support/reliability/promise.ts";
import { useSite } from "../support/reliability/site.ts";
import { allAnswer, finishAll, openEchoes } from "../support/reliability/streams.ts";

const site = useSite();

const STREAMS = 50;
const ON_WITHIN_MS = 2_000;
/** Streams are kept for 60 s; the last of these is back just in time. */
const AWAY_SECONDS: readonly number[] =
  process.env["RELIABILITY_EXACT"] === "1" ? [2, 10, 20, 35, 50, 55] : [2, 20, 55];
/** The last first packet of a dial was sent shortly before: by itself the next one would come three seconds later. */
const DROPPED_SECONDS = 8;
const KILLS = 16;
const ALIVE_MS = 3_000;

describe(`${STREAMS} streams`, () => {
  test.each(AWAY_SECONDS)("all go on when the relay was away for %d s", async (seconds) => {
    const { relay, callerSide, agentSide } = site();
    const streams = await openEchoes(site().link(`away-${seconds}`), STREAMS);
    relay.program.signal("SIGKILL");
    await relay.program.ended;
    // It starts meanwhile, so that the time without it does not depend on how long that takes here.
    const back = [callerSide, agentSide].map((side) => side.begin(CUT));
    await Promise.all([relay.start(), delay(seconds * 1_000)]);
    for (const end of back) end();
    const from = performance.now();
    await allAnswer(streams);
    await expectWithin(`relay away for ${seconds} s`, ON_WITHIN_MS, performance.now() - from);
    await finishAll(streams);
  });

  // A relay whose machine is gone: nothing refuses a connection, nothing answers.
  test.skipIf(process.platform !== "linux")(
    `all go on when packets to the relay were dropped for ${DROPPED_SECONDS} s`,
    async () => {
      const { callerSide, agentSide } = site();
      const streams = await openEchoes(site().link("dropped"), STREAMS);
      const back = [await callerSide.silence(), await agentSide.silence()];
      await delay(DROPPED_SECONDS * 1_000);
      for (const end of back) await end();
      const from = performance.now();
      await allAnswer(streams);
      await expectWithin(
        `packets to the relay dropped for ${DROPPED_SECONDS} s`,
        ON_WITHIN_MS,
        performance.now() - from,
      );
      await finishAll(streams);
    },
  );

  test(`all go on while the relay is killed ${KILLS} times, 3 s after each start`, async () => {
    const { relay } = site();
    const streams = await openEchoes(site().link("killed"), STREAMS);
    for (let count = 0; count < KILLS; count += 1) {
      await delay(ALIVE_MS);
      relay.program.signal("SIGKILL");
      await relay.program.ended;
      await relay.start();
    }
    const from = performance.now();
    await allAnswer(streams);
    await expectWithin(`relay killed ${KILLS} times`, ON_WITHIN_MS, performance.now() - from);
    await finishAll(streams);
  });
});
