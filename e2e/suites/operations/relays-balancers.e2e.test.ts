import { performance } from "node:perf_hooks";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { RawLink } from "../../src/faults/raw-link.ts";
import { readLogEvents } from "../../src/process/log-events.ts";
import { pollUntil } from "../../src/process/poll.ts";
import type { FleetRelay } from "../../src/stack/fleet.ts";
import { startConversation } from "../support/relays/conversation.ts";
import { AGENTS, CLUSTERS, missingForFleet, useFleet } from "../support/relays/fleet.ts";

const missing = missingForFleet();
/** Callers' channels, which count for a balancer that goes by load and lead it away from where an agent should go. */
const LINKS = 30;
const TUNNELS_EACH = 2;
const TIMEOUT_MS = 120_000;

describe.skipIf(missing !== undefined)(
  `agents find as many relays as they want${missing === undefined ? "" : `: ${missing}`}, behind haproxy`,
  () => {
    const scene = useFleet();
    const links: RawLink[] = [];

    beforeAll(() => {
      for (let index = 0; index < LINKS; index += 1) links.push(scene().link(CLUSTERS[index % CLUSTERS.length] ?? ""));
    });
    afterAll(async () => {
      await Promise.all(links.map((link) => link.close()));
    });

    /** Waits until each agent has tunnels to so many different relays of those that run, and says how long it took. */
    async function reached(what: string, relays: readonly FleetRelay[], each: number): Promise<void> {
      const from = performance.now();
      const { postgres, storeUrl } = scene();
      const ids = relays.map(({ id }) => `'${id}'`).join(",");
      const sql =
        `select count(*) from (select agent_instance_id from tunnels where relay_id in (${ids}) ` +
        `group by agent_instance_id having count(distinct relay_id) = ${each}) as agents`;
      await pollUntil(async () => (Number((await postgres.query(storeUrl, sql))[0]) === AGENTS ? true : undefined), {
        signal: AbortSignal.timeout(TIMEOUT_MS),
        intervalMs: 100,
      });
      const seconds = Math.round((performance.now() - from) / 100) / 10;
      process.stdout.write(
        `figures: ${what}: ${AGENTS} agents with tunnels to ${each} relays each after ${seconds} s\n`,
      );
    }

    async function kill(relay: FleetRelay): Promise<void> {
      relay.program.signal("SIGKILL");
      await relay.program.ended;
    }

    test.each(["roundrobin", "leastconn"] as const)("that spreads by %s", async (balance) => {
      const { fleet } = scene();
      const [first, second, third] = fleet.relays;
      if (first === undefined || second === undefined || third === undefined) throw new Error("three relays");
      await fleet.balancer.use(balance);
      await reached(`${balance}, all channels were lost`, fleet.relays, TUNNELS_EACH);
      for (const relay of fleet.relays) {
        const others = fleet.relays.filter((one) => one !== relay);
        await kill(relay);
        await reached(`${balance}, ${relay.name} killed`, others, TUNNELS_EACH);
        await relay.start();
      }
      await kill(first);
      await kill(second);
      await reached(`${balance}, one relay is left`, [third], 1);
      await second.start();
      await reached(`${balance}, a second one came`, [second, third], TUNNELS_EACH);
      // By load every dial leads to the second one now: the callers are at the third.
      for (const agent of scene().agents) await agent.stop();
      await Promise.all(scene().agents.map((agent) => agent.start()));
      await reached(`${balance}, agents started again before callers at one relay`, [second, third], TUNNELS_EACH);
      await first.start();
    });

    test("that sends an address to one relay always: one tunnel each, which the log says once", async () => {
      const { fleet, agents } = scene();
      await fleet.balancer.use("source");
      await reached("source, all channels were lost", fleet.relays, 1);
      for (const [index, link] of links.entries()) {
        const cluster = CLUSTERS[index % CLUSTERS.length] ?? "";
        await (await startConversation(link, cluster)).end();
      }
      const said = async (): Promise<readonly number[]> =>
        await Promise.all(
          agents.map(async ({ program }) => {
            const events = program === undefined ? [] : await readLogEvents(program.logPath);
            return events.filter(({ event }) => event === "tunnel.unspread").length;
          }),
        );
      await pollUntil(async () => ((await said()).every((count) => count > 0) ? true : undefined), {
        signal: AbortSignal.timeout(TIMEOUT_MS),
        intervalMs: 500,
      });
      expect(await said()).toEqual(agents.map(() => 1));
    });
  },
);
