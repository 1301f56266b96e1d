import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { RawLink } from "../../src/faults/raw-link.ts";
import { pollUntil } from "../../src/process/poll.ts";
import {
  type Conversation,
  type Opener,
  openQuietStream,
  startConversation,
  startOpener,
} from "../support/relays/conversation.ts";
import { CLUSTERS, missingForFleet, RELAYS, TUNNELS, useFleet } from "../support/relays/fleet.ts";

const missing = missingForFleet();
const LINKS = 30;
const RECOVER_TIMEOUT_MS = 60_000;
/** How much each conversation has to go on before the next thing breaks. */
const SENTENCES = 25;
/** Callers know by then that a replica is not there any more. */
const TOLD_MS = 10_000;
const OUTAGE_MS = process.env["CI"] === undefined ? 60_000 : 15_000;

const say = (line: string): void => void process.stderr.write(`${line}\n`);

describe.skipIf(missing !== undefined)(
  `three relays behind one name${missing === undefined ? "" : `: ${missing}`}`,
  () => {
    const scene = useFleet();
    const links: RawLink[] = [];

    beforeAll(async () => {
      await scene().tunnels(TUNNELS);
      for (let index = 0; index < LINKS; index += 1) links.push(scene().link(clusterOf(index)));
    });
    afterAll(async () => {
      await Promise.all(links.map((link) => link.close()));
    });

    const clusterOf = (index: number): string => CLUSTERS[index % CLUSTERS.length] ?? "";

    /** Breaks something while all talk and open streams; nothing may be lost, changed or from another cluster. */
    async function survives(
      name: string,
      breakSomething: (talking: () => Promise<void>) => Promise<void>,
    ): Promise<Opener[]> {
      const conversations = await Promise.all(links.map((link, index) => startConversation(link, clusterOf(index))));
      const openers = links.map((link, index) => startOpener(link, clusterOf(index)));
      const goOn = (): Promise<void> => talkOn(conversations, openers);
      await goOn();
      await breakSomething(goOn);
      await goOn();
      await Promise.all(conversations.map((one) => one.end()));
      await Promise.all(openers.map((one) => one.end()));
      report(name, conversations, openers);
      return openers;
    }

    test("one relay after another is killed, and no byte is lost", async () => {
      await survives("three relays killed, one after the other", async (goOn) => {
        for (const relay of scene().fleet.relays) {
          relay.program.signal("SIGKILL");
          await relay.program.ended;
          await goOn();
          await relay.start();
          await scene().tunnels(TUNNELS);
          await goOn();
        }
      });
    });

    test("one relay after another is drained, and no byte is lost", async () => {
      await survives("three relays drained, one after the other", async (goOn) => {
        for (const relay of scene().fleet.relays) {
          relay.program.signal("SIGTERM");
          await relay.program.ended;
          await goOn();
          await relay.start();
          await scene().tunnels(TUNNELS);
          await goOn();
        }
      });
    });

    test("an agent's replica is killed: callers are told within ten seconds, its streams end when the time for coming back is over, new ones go to the other", async () => {
      const cluster = CLUSTERS[0] ?? "";
      const [victim] = scene().agents;
      const ownLinks = links.filter((_, index) => clusterOf(index) === cluster);
      const openers = ownLinks.map((link) => startOpener(link, cluster));
      const before = openers.map(({ opened }) => opened);
      const quiet = await Promise.all(ownLinks.map((link) => openQuietStream(link, cluster)));
      const from = performance.now();
      const killedAt = Date.now();
      victim?.program?.signal("SIGKILL");
      const fates = await Promise.all(quiet.map((one) => one.fate(from)));
      const lost = fates.filter(({ code }) => code !== undefined);
      const longestMs = Math.max(...lost.map(({ ms }) => ms));
      const told = ownLinks.flatMap(({ events }) =>
        events.filter(({ kind, at }) => kind === "missing" && at >= killedAt),
      );
      const toldMs = Math.max(...told.map(({ at }) => at - killedAt));
      expect(told).toHaveLength(lost.length);
      expect(toldMs).toBeLessThan(TOLD_MS);
      say(
        `${lost.length} of ${fates.length} streams were on the replica: that it is missing was told after ${toldMs} ms, they ended after ${longestMs} ms`,
      );
      expect(new Set(lost.map(({ code }) => code))).toEqual(new Set(["CC_RESUME_EXPIRED"]));
      expect(lost.length).toBeLessThan(fates.length);
      await reached(() => openers.every(({ opened }, index) => opened > (before[index] ?? 0) + 10));
      await Promise.all(openers.map((one) => one.end()));
      report("one replica of an agent killed", [], openers);
      await victim?.start();
      await scene().tunnels(TUNNELS);
    });

    test("while the database is away everything that is known goes on, and it comes back by itself", async () => {
      const { postgres, fleet } = scene();
      const outage = `the database away for ${OUTAGE_MS / 1_000} s`;
      await survives(outage, async (goOn) => {
        await postgres.pause();
        const until = performance.now() + OUTAGE_MS;
        const late = scene().link(clusterOf(0));
        await (await startConversation(late, clusterOf(0))).end();
        await late.close();
        while (performance.now() < until) await goOn();
        const states = await Promise.all(fleet.relays.map(({ url }) => readyz(url, fleet.caPem)));
        for (const { status, text } of states) {
          expect(status).toBe(200);
          expect(text).toContain("does not answer");
        }
        await postgres.resume();
        await scene().tunnels(TUNNELS);
      });
      await expect(fleet.enrollmentCode("after", { uses: 1, signal: AbortSignal.timeout(60_000) })).resolves.toMatch(
        /./,
      );
      await reached(async () => {
        const states = await Promise.all(fleet.relays.map(({ url }) => readyz(url, fleet.caPem)));
        return states.every(({ status, text }) => status === 200 && !text.includes("does not answer"));
      });
    });
  },
);

/** Waits until each conversation has heard more and each opener has opened more. */
async function talkOn(conversations: readonly Conversation[], openers: readonly Opener[]): Promise<void> {
  const heard = conversations.map((one) => one.heard + SENTENCES);
  const opened = openers.map((one) => one.opened + 2);
  await reached(
    () =>
      conversations.every((one, index) => one.heard >= (heard[index] ?? 0)) &&
      openers.every((one, index) => one.opened >= (opened[index] ?? 0)),
  );
}

async function reached(condition: () => boolean | Promise<boolean>): Promise<void> {
  await pollUntil(async () => ((await condition()) ? true : undefined), {
    signal: AbortSignal.timeout(RECOVER_TIMEOUT_MS),
  });
}

function report(name: string, conversations: readonly Conversation[], openers: readonly Opener[]): void {
  const ms = (all: readonly { readonly longestMs: number }[]): number =>
    Math.round(Math.max(0, ...all.map(({ longestMs }) => longestMs)));
  const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);
  const failed = openers.flatMap(({ failures }) => [...failures]).map(([code, times]) => `${code} ${times}`);
  say(
    `${name}: ${conversations.length} streams over ${RELAYS} relays, ${sum(conversations.map(({ heard }) => heard))} ` +
      `answers, longest pause ${ms(conversations)} ms; ${sum(openers.map(({ opened }) => opened))} streams opened, ` +
      `longest time without one ${ms(openers)} ms, refused attempts: ${failed.join(", ") || "none"}`,
  );
}

async function readyz(url: string, caPem: string): Promise<{ readonly status: number; readonly text: string }> {
  const { get } = await import("node:https");
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; text: string }>();
  get(new URL("/readyz", url), { ca: caPem, agent: false }, (response) => {
    let text = "";
    response.setEncoding("utf8");
    response.on("data", (chunk) => {
      text += chunk;
    });
    response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
  }).on("error", reject);
  return await promise;
}
