import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { RawLink } from "../../src/faults/raw-link.ts";
import { pollUntil } from "../../src/process/poll.ts";
import { type Conversation, type Opener, startConversation, startOpener } from "../support/relays/conversation.ts";
import { CLUSTERS, missingForFleet, TUNNELS, useFleet } from "../support/relays/fleet.ts";
import { NO_END } from "../support/stack.ts";

const missing = missingForFleet({ pooled: true });
const RECOVER_TIMEOUT_MS = 60_000;
const OUTAGE_MS = 5_000;

describe.skipIf(missing !== undefined)(
  `three relays behind PgBouncer in transaction mode${missing === undefined ? "" : `: ${missing}`}`,
  () => {
    const scene = useFleet({ pooled: true });
    const links: RawLink[] = [];

    beforeAll(async () => {
      await scene().tunnels(TUNNELS);
      for (const cluster of CLUSTERS) links.push(scene().link(cluster));
    });
    afterAll(async () => {
      await Promise.all(links.map((link) => link.close()));
    });

    /** Breaks something while all talk and open streams; nothing may be lost, changed or from another cluster. */
    async function survives(breakSomething: (talking: () => Promise<void>) => Promise<void>): Promise<void> {
      const named = links.map((link, index) => ({ link, cluster: CLUSTERS[index] ?? "" }));
      const conversations = await Promise.all(named.map(({ link, cluster }) => startConversation(link, cluster)));
      const openers = named.map(({ link, cluster }) => startOpener(link, cluster));
      const goOn = (): Promise<void> => talkOn(conversations, openers);
      await goOn();
      await breakSomething(goOn);
      await goOn();
      await Promise.all([...conversations, ...openers].map((one) => one.end()));
    }

    const enroll = (name: string): Promise<string> =>
      scene().fleet.enrollmentCode(name, { uses: 1, signal: AbortSignal.any([NO_END, AbortSignal.timeout(60_000)]) });

    test("a relay is killed and comes back", async () => {
      await survives(async (goOn) => {
        const [relay] = scene().fleet.relays;
        relay?.program.signal("SIGKILL");
        await relay?.program.ended;
        await goOn();
        await relay?.start();
        await scene().tunnels(TUNNELS);
      });
    });

    test("the database is away behind it, and comes back by itself", async () => {
      await survives(async (goOn) => {
        await scene().postgres.pause();
        const until = performance.now() + OUTAGE_MS;
        while (performance.now() < until) await goOn();
        await scene().postgres.resume();
        await scene().tunnels(TUNNELS);
      });
      await expect(enroll("after-the-database")).resolves.toMatch(/./);
    });

    test("it is started again itself", async () => {
      await survives(async (goOn) => {
        await scene().pooler?.restart();
        await goOn();
        await scene().tunnels(TUNNELS);
      });
      await expect(enroll("after-the-pooler")).resolves.toMatch(/./);
    });
  },
);

/** Waits until each conversation has heard more and each opener has opened more. */
async function talkOn(conversations: readonly Conversation[], openers: readonly Opener[]): Promise<void> {
  const heard = conversations.map((one) => one.heard + 10);
  const opened = openers.map((one) => one.opened + 2);
  const more = (): boolean =>
    conversations.every((one, index) => one.heard >= (heard[index] ?? 0)) &&
    openers.every((one, index) => one.opened >= (opened[index] ?? 0));
  const signal = AbortSignal.timeout(RECOVER_TIMEOUT_MS);
  await pollUntil(async () => (more() ? true : undefined), { signal });
}
