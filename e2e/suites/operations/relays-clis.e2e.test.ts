import { X509Certificate } from "node:crypto";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { pollUntil } from "../../src/process/poll.ts";
import { createCli, type LocalProxy } from "../../src/stack/cli.ts";
import { type CliTalk, type LocalCluster, startCliTalk } from "../support/cli-talk.ts";
import { CLUSTERS, missingForFleet, TUNNELS, useFleet } from "../support/relays/fleet.ts";
import { NO_END } from "../support/stack.ts";

const missing = missingForFleet();
const CLIS = 30;
/** Processes that start at the same time. */
const AT_ONCE = 6;
const SENTENCES = 20;
const REQUESTS = 2;
const RECOVER_TIMEOUT_MS = 90_000;
const HOUR_SECONDS = 3_600;

describe.skipIf(missing !== undefined)(
  `thirty CLIs, as processes, before three relays${missing === undefined ? "" : `: ${missing}`}`,
  () => {
    const scene = useFleet();
    const proxies: LocalProxy[] = [];
    const locals: LocalCluster[] = [];

    beforeAll(async () => {
      await scene().tunnels(TUNNELS);
      const authorities = new Map<string, string>();
      for (const cluster of CLUSTERS) authorities.set(cluster, await scene().authorityOf(cluster));
      for (let from = 0; from < CLIS; from += AT_ONCE) {
        await Promise.all(Array.from({ length: AT_ONCE }, (_, index) => startOne(from + index, authorities)));
      }
    });
    afterAll(async () => {
      await Promise.all(proxies.map((proxy) => proxy.stop()));
    });

    async function startOne(index: number, authorities: ReadonlyMap<string, string>): Promise<void> {
      const { fleet, keeper, folder, token } = scene();
      const cluster = CLUSTERS[index % CLUSTERS.length] ?? "";
      const person = { sub: `person-${index}`, exp: Math.floor(Date.now() / 1_000) + HOUR_SECONDS };
      const env = {
        CLUSTER_CONNECT_RELAY: fleet.url,
        CLUSTER_CONNECT_CA_FILE: fleet.caFile,
        CLUSTER_CONNECT_RELAY_TOKEN: await token(person),
        CLUSTER_CONNECT_CLUSTER_FINGERPRINT: `${cluster}=${new X509Certificate(authorities.get(cluster) ?? "").fingerprint256}`,
        CLUSTER_CONNECT_TOKEN: await token({ ...person, aud: "https://cluster.example" }),
      };
      const own = { folder: join(folder, `cli-${index}`), relay: fleet, path: "/usr/bin:/bin", signal: NO_END, env };
      const proxy = await (await createCli(own, { keeper })).proxy([cluster]);
      proxies.push(proxy);
      locals.push({ port: proxy.port, cluster, ca: authorities.get(cluster) ?? "" });
    }

    test("relays are killed and drained one after the other: no byte is lost, nobody reaches another cluster", async () => {
      const talks = await Promise.all(locals.map(startCliTalk));
      const goOn = (): Promise<void> => talkOn(talks);
      await goOn();
      for (const [index, relay] of scene().fleet.relays.entries()) {
        relay.program.signal(index === 1 ? "SIGTERM" : "SIGKILL");
        await relay.program.ended;
        await goOn();
        await relay.start();
        await scene().tunnels(TUNNELS);
        await goOn();
      }
      await Promise.all(talks.map((talk) => talk.end()));
      report(talks);
      expect(talks).toHaveLength(CLIS);
    });
  },
);

/** Waits until each CLI has heard and been answered more. */
async function talkOn(talks: readonly CliTalk[]): Promise<void> {
  const wanted = talks.map(({ heard, answered }) => ({ heard: heard + SENTENCES, answered: answered + REQUESTS }));
  const reached = talks.map(
    (talk, index) => (): boolean =>
      talk.heard >= (wanted[index]?.heard ?? 0) && talk.answered >= (wanted[index]?.answered ?? 0),
  );
  await pollUntil(async () => (reached.every((has) => has()) ? true : undefined), {
    signal: AbortSignal.timeout(RECOVER_TIMEOUT_MS),
  });
}

function report(talks: readonly CliTalk[]): void {
  const sum = (read: (talk: CliTalk) => number): number => talks.reduce((total, talk) => total + read(talk), 0);
  const most = (read: (talk: CliTalk) => number): number => Math.round(Math.max(...talks.map(read)));
  const failures = new Map<string, number>();
  for (const talk of talks) {
    for (const [what, times] of talk.failures) failures.set(what, (failures.get(what) ?? 0) + times);
  }
  const failed = [...failures].map(([what, times]) => `${what} ${times}`).join(", ") || "none";
  process.stdout.write(
    `figures: ${talks.length} CLIs: ${sum(({ heard }) => heard)} answers, longest pause ` +
      `${most(({ longestPauseMs }) => longestPauseMs)} ms; ${sum(({ answered }) => answered)} requests, longest time ` +
      `without an answer ${most(({ longestRequestMs }) => longestRequestMs)} ms, failed attempts: ${failed}\n`,
  );
}
