import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type RawLink, startRawLink } from "../../src/faults/raw-link.ts";
import { pollUntil } from "../../src/process/poll.ts";
import { RELAY_AUDIENCE } from "../../src/stack/issuer.ts";
import { type Conversation, type Opener, startConversation, startOpener } from "../support/relays/conversation.ts";
import { startCluster } from "../support/relays/fleet.ts";
import { missingForRelayChart, NAMESPACE, RELEASE, useRelayChartStack } from "./support/relay-chart-stack.ts";

const missing = await missingForRelayChart();
const CLUSTER = "north";
/** Enough that some are at either relay. */
const LINKS = 6;
const SENTENCES = 25;
const WAIT_MS = 60_000;

test.runIf(missing !== undefined)("the relay's chart on a real node", (context) => context.skip(missing));

describe.skipIf(missing !== undefined)("the relay's chart", () => {
  const stack = useRelayChartStack();
  const links: RawLink[] = [];
  const ends: (() => unknown)[] = [];

  beforeAll(async () => {
    const from = performance.now();
    const installed = await stack().install();
    if (installed.code !== 0) expect.fail(`${installed.stderr}\n${await describePods()}`);
    process.stderr.write(`helm install --wait: ${Math.round(performance.now() - from)} ms\n`);
    const { folder, keeper, url, caPem, caFile } = stack();
    const fleet = { url, caFile, enrollmentCode };
    await startCluster(CLUSTER, { folder, fleet, keeper, atEnd: (end) => void ends.unshift(end) });
    for (let index = 0; index < LINKS; index += 1) {
      links.push(startRawLink({ relay: url, caPem, cluster: CLUSTER, token }));
    }
  });
  afterAll(async () => {
    await Promise.all(links.map((link) => link.close()));
    for (const end of ends) await end();
  });

  const inNamespace = (...args: readonly string[]): Promise<string> => stack().kubectl(["-n", NAMESPACE, ...args]);

  async function describePods(): Promise<string> {
    const events = await inNamespace("get", "pods,events", "-o", "wide");
    const logs = await inNamespace("logs", "-l", `app.kubernetes.io/instance=${RELEASE}`, "--prefix", "--tail=20");
    return `${events}\n${logs}`;
  }

  /** As the chart's notes say. */
  async function enrollmentCode(cluster: string): Promise<string> {
    const where = ["--config", "/etc/cluster-connect/config/relay.yaml", "--cluster", cluster, "--output", "json"];
    const main = ["node", "/app/dist/main.js", "enroll", ...where];
    const made: unknown = JSON.parse(await inNamespace("exec", `statefulset/${RELEASE}`, "--", ...main));
    return String(typeof made === "object" && made !== null && "code" in made ? made.code : "");
  }

  function token(): Promise<string> {
    const now = Math.floor(Date.now() / 1_000);
    return stack().issuer.sign({
      iss: stack().issuer.url,
      aud: RELAY_AUDIENCE,
      sub: "viewer",
      preferred_username: "viewer",
      groups: ["viewers"],
      iat: now,
      exp: now + 600,
    });
  }

  /** Breaks something while all talk through the Service; no byte may be lost or changed. */
  async function survives(breakSomething: () => Promise<void>): Promise<void> {
    const conversations = await Promise.all(links.map((link) => startConversation(link, CLUSTER)));
    const openers = links.map((link) => startOpener(link, CLUSTER));
    await talkOn(conversations, openers);
    await breakSomething();
    await talkOn(conversations, openers);
    await Promise.all([...conversations, ...openers].map((one) => one.end()));
    const longest = (all: readonly { readonly longestMs: number }[]): number =>
      Math.round(Math.max(...all.map(({ longestMs }) => longestMs)));
    const heard = conversations.reduce((total, one) => total + one.heard, 0);
    process.stderr.write(
      `${heard} answers over ${LINKS} channels, longest pause ${longest(conversations)} ms, ` +
        `longest time without a new stream ${longest(openers)} ms\n`,
    );
  }

  const uidOf = async (pod: string): Promise<string | undefined> => {
    const path = '{.metadata.uid} {.status.conditions[?(@.type=="Ready")].status}';
    const [uid, ready] = (await inNamespace("get", "pod", pod, "-o", `jsonpath=${path}`).catch(() => "")).split(" ");
    return ready === "True" ? uid : undefined;
  };
  const replaced = (pod: string, before: string | undefined): Promise<string> =>
    pollUntil(
      async () => {
        const now = await uidOf(pod);
        return now === before ? undefined : now;
      },
      { signal: AbortSignal.timeout(WAIT_MS), intervalMs: 250 },
    );

  async function evict(pod: string): Promise<void> {
    const path = join(stack().folder, `evict-${pod}.json`);
    const metadata = { name: pod, namespace: NAMESPACE };
    await writeFile(path, JSON.stringify({ apiVersion: "policy/v1", kind: "Eviction", metadata }));
    await stack().kubectl(["create", "--raw", `/api/v1/namespaces/${NAMESPACE}/pods/${pod}/eviction`, "-f", path]);
  }

  test("both relays are ready, know each other by the database, and serve their metrics", async () => {
    for (const pod of [`${RELEASE}-0`, `${RELEASE}-1`]) {
      expect(await uidOf(pod)).toMatch(/./);
      const path = `/api/v1/namespaces/${NAMESPACE}/pods/${pod}:9090/proxy/metrics`;
      const tunnels = async (): Promise<true | undefined> =>
        /^cluster_connect_tunnels(\{.*\})? 2$/m.test(await stack().kubectl(["get", "--raw", path])) ? true : undefined;
      await pollUntil(tunnels, { signal: AbortSignal.timeout(WAIT_MS), intervalMs: 250 });
    }
  });

  test("helm test reaches a relay through the Service", async () => {
    const done = await stack().helm(["test", RELEASE, "--namespace", NAMESPACE, "--logs", "--timeout", "60s"]);
    expect(done).toMatchObject({ code: 0 });
    expect(done.stdout).toContain("answered with status 200");
  });

  test("one relay after the other is evicted, never both, and open streams go on", async () => {
    await survives(async () => {
      const [first, second] = [`${RELEASE}-0`, `${RELEASE}-1`];
      const [uidOfFirst, uidOfSecond] = [await uidOf(first), await uidOf(second)];
      await evict(first);
      await expect(evict(second)).rejects.toThrow(/disruption budget/);
      await replaced(first, uidOfFirst);
      const evicted = async (): Promise<true | undefined> =>
        await evict(second).then(
          () => true as const,
          () => undefined,
        );
      await pollUntil(evicted, { signal: AbortSignal.timeout(WAIT_MS), intervalMs: 250 });
      await replaced(second, uidOfSecond);
    });
  });

  test("an upgrade that changes a setting replaces both, and open streams go on", async () => {
    const pods = [`${RELEASE}-0`, `${RELEASE}-1`];
    const before = await Promise.all(pods.map(uidOf));
    await survives(async () => {
      expect(await stack().install(["--set", "config.log.level=debug"])).toMatchObject({ code: 0 });
      await inNamespace("rollout", "status", `statefulset/${RELEASE}`, "--timeout=180s");
    });
    const after = await Promise.all(pods.map(uidOf));
    expect(after.filter((uid) => uid === undefined || before.includes(uid))).toEqual([]);
    expect(await stack().install(["--set", "config.log.level=debug"])).toMatchObject({ code: 0 });
    expect(await Promise.all(pods.map(uidOf))).toEqual(after);
  });
});

/** Waits until each conversation has heard more and each opener has opened more. */
async function talkOn(conversations: readonly Conversation[], openers: readonly Opener[]): Promise<void> {
  const goals = conversations.map((one) => one.heard + SENTENCES);
  const opened = openers.map((one) => one.opened + 2);
  const more = (): boolean =>
    conversations.every((one, index) => one.heard >= (goals[index] ?? 0)) &&
    openers.every((one, index) => one.opened >= (opened[index] ?? 0));
  await pollUntil(async () => (more() ? true : undefined), { signal: AbortSignal.timeout(WAIT_MS) });
}
