import { beforeAll, describe, expect, test } from "vitest";
import { NODE_IMAGE } from "../../src/cluster/node/image.ts";
import { missingForImages } from "../../src/images/provide.ts";
import { pollUntil } from "../../src/process/poll.ts";
import { type RunResult, runToEnd } from "../../src/process/run-to-end.ts";
import { repositoryFile } from "../../src/stack/repository-file.ts";
import { NO_END } from "../support/stack.ts";
import { CLUSTER, installChart, NAMESPACE, RELEASE, useChartStack } from "./support/chart-stack.ts";

const missing = await missingForImages(process.env);
const CHART = repositoryFile("deploy/charts/cluster-connect-agent");
const STREAMS = 6;
const LINES = 25;
const WAIT_MS = 120_000;
const AGENTS = ["-l", `app.kubernetes.io/instance=${RELEASE},app.kubernetes.io/component=agent`];

interface Counted extends RunResult {
  /** Milliseconds since the test began to count. */
  readonly endedAt: number;
}

describe.skipIf(missing !== undefined)("the chart over time", () => {
  const stack = useChartStack();
  let env: Readonly<Record<string, string>>;
  const person = (args: readonly string[]): Promise<RunResult> =>
    runToEnd(stack().tools.kubectl, args, { env, signal: NO_END, cwd: stack().folder });

  beforeAll(async () => {
    const code = await stack().relay.enrollmentCode(CLUSTER, { signal: NO_END });
    expect(await installChart(stack(), ["--set", `enrollment.code=${code}`])).toMatchObject({ code: 0 });
    env = (await stack().signIn("admin")).env;
    expect(await person(["run", "counter", `--image=${NODE_IMAGE}`, "--image-pull-policy=Never"])).toMatchObject({
      code: 0,
    });
    expect(await person(["wait", "--for=condition=Ready", "pod/counter", "--timeout=60s"])).toMatchObject({ code: 0 });
  });

  /** Asks again and again until told to stop. @returns how long there was no answer at the longest, milliseconds. */
  async function askMeanwhile(
    work: () => Promise<void>,
  ): Promise<{ readonly asked: number; readonly longestMs: number }> {
    let done = false;
    const finished = work().finally(() => {
      done = true;
    });
    let [asked, longestMs, failingSince] = [0, 0, 0];
    while (!done) {
      const from = performance.now();
      const answer = await person(["get", "namespace", "default", "-o", "name"]);
      asked += 1;
      if (answer.code === 0 && failingSince > 0) longestMs = Math.max(longestMs, performance.now() - failingSince);
      if (answer.code === 0) failingSince = 0;
      else if (failingSince === 0) failingSince = from;
    }
    await finished;
    expect(failingSince).toBe(0);
    return { asked, longestMs: Math.round(longestMs) };
  }

  test("while a pod is deleted requests go on, streams of the other run to their end, its own end with a reason", async () => {
    const { kubectl } = stack();
    const script = `mkdir -p /tmp/running; touch /tmp/running/$$; i=0; while [ $i -lt ${LINES} ]; do echo $i; i=$((i+1)); sleep 1; done`;
    const from = performance.now();
    const streams = Array.from({ length: STREAMS }, async (): Promise<Counted> => {
      const result = await person(["exec", "counter", "--", "sh", "-c", script]);
      return { ...result, endedAt: performance.now() - from };
    });
    const opened = async (): Promise<true | undefined> => {
      const running = await kubectl(["exec", "counter", "--", "sh", "-c", "ls /tmp/running | wc -l"]);
      return Number(running) >= STREAMS ? true : undefined;
    };
    await pollUntil(opened, { signal: AbortSignal.timeout(WAIT_MS), intervalMs: 300 });
    const [victim = ""] = (await kubectl(["-n", NAMESPACE, "get", "pods", ...AGENTS, "-o", "name"])).split("\n");
    let deletedAt = 0;
    const { asked, longestMs } = await askMeanwhile(async () => {
      deletedAt = performance.now() - from;
      await kubectl(["-n", NAMESPACE, "delete", victim, "--wait=true"]);
      await kubectl(["-n", NAMESPACE, "rollout", "status", `deployment/${RELEASE}`, "--timeout=90s"]);
    });
    const ended = await Promise.all(streams);
    const whole = ended.filter(({ code }) => code === 0);
    const cut = ended.filter(({ code }) => code !== 0);
    const seconds = cut.map(({ endedAt }) => ((endedAt - deletedAt) / 1_000).toFixed(1));
    process.stderr.write(
      `a pod deleted: ${asked} requests, longest without an answer ${longestMs} ms, ` +
        `${whole.length} streams whole, ${cut.length} ended after ${seconds.join(", ")} s: ${cut[0]?.stderr.trim()}\n`,
    );
    expect(longestMs).toBe(0);
    const expected = Array.from({ length: LINES }, (_, line) => `${line}\n`).join("");
    for (const { stdout } of whole) expect(stdout).toBe(expected);
    for (const { stderr } of cut) expect(stderr).not.toBe("");
  });

  test("while the release is upgraded no request fails, and the identity stays", async () => {
    const { kubectl } = stack();
    const identity = (): Promise<string> =>
      kubectl(["-n", NAMESPACE, "get", "secret", `${RELEASE}-identity`, "-o", "jsonpath={.data}"]);
    const before = await identity();
    const { asked, longestMs } = await askMeanwhile(async () => {
      expect(await installChart(stack(), ["--set", "agent.logLevel=debug"])).toMatchObject({ code: 0 });
    });
    process.stderr.write(`an upgrade: ${asked} requests, longest without an answer ${longestMs} ms\n`);
    expect(longestMs).toBe(0);
    expect(await identity()).toBe(before);
  });

  test("the disruption budget lets one replica go and keeps the other", async () => {
    const budget = await stack().kubectl([
      "-n",
      NAMESPACE,
      "get",
      "pdb",
      RELEASE,
      "-o",
      "jsonpath={.status.disruptionsAllowed}",
    ]);
    expect(budget).toBe("1");
  });

  /** Runs the rotation now and waits until both replicas have logged what follows from it. */
  async function rotate(job: string, container: string, event: string): Promise<void> {
    const { kubectl } = stack();
    await kubectl(["-n", NAMESPACE, "create", "job", job, `--from=cronjob/${RELEASE}-rotate`]);
    await kubectl(["-n", NAMESPACE, "wait", "--for=condition=Complete", `job/${job}`, "--timeout=90s"]);
    const both = async (): Promise<true | undefined> => {
      const logs = await kubectl(["-n", NAMESPACE, "logs", ...AGENTS, "-c", container, "--tail=-1"]);
      return logs.split("\n").filter((line) => line.includes(event)).length >= 2 ? true : undefined;
    };
    // The kubelet brings a changed Secret to its pods within a minute or two.
    await pollUntil(both, { signal: AbortSignal.timeout(4 * 60_000), intervalMs: 1_000 });
  }

  const written = (job: string): Promise<string> =>
    stack().kubectl(["-n", NAMESPACE, "logs", `job/${job}`, "-c", "write"]);
  const restarts = (): Promise<string> =>
    stack().kubectl([
      ...["-n", NAMESPACE, "get", "pods", ...AGENTS],
      ...["-o", "jsonpath={.items[*].status.containerStatuses[*].restartCount}"],
    ]);

  test("the rotation's Job gives both replicas a new key, without a restart or a failed request", async () => {
    const { asked, longestMs } = await askMeanwhile(() => rotate("now", "agent", "key.changed"));
    process.stderr.write(`key rotated: ${asked} requests, longest without an answer ${longestMs} ms\n`);
    expect(longestMs).toBe(0);
    expect(await written("now")).toContain("wrote agent-key.pem, enrolled.json");
    expect(await restarts()).toBe("0 0 0 0");
  });

  test("an authority with half of its life over is renewed in every pod, without a restart or a failed request", async () => {
    const longer = String(3 * 315_360_000);
    expect(await installChart(stack(), ["--set", `authProxy.certificate.caSeconds=${longer}`])).toMatchObject({
      code: 0,
    });
    const { asked, longestMs } = await askMeanwhile(() => rotate("renew", "auth-proxy", "authority.renewed"));
    process.stderr.write(`authority renewed: ${asked} requests, longest without an answer ${longestMs} ms\n`);
    expect(longestMs).toBe(0);
    expect(await written("renew")).toContain("authority.pem");
    expect(await restarts()).toBe("0 0 0 0");
  });

  const FAULTS: readonly (readonly [string, (code: string) => readonly string[], RegExp])[] = [
    ["a code that no relay made", () => ["enrollment.code=cc1-wrong"], /code/i],
    ["a code that was used before", (code) => [`enrollment.code=${code}`], /CC_ENROLLMENT_CODE_INVALID/],
    [
      "a relay's name that nobody knows",
      () => ["enrollment.code=x", "relay.url=https://relay.invalid"],
      /relay\.invalid cannot be reached: E/,
    ],
    [
      "a relay that does not answer",
      () => ["enrollment.code=x", "relay.url=https://127.0.0.1:9"],
      /127\.0\.0\.1:9 cannot be reached: ECONNREFUSED/,
    ],
  ];

  test.each(FAULTS)("%s is said in one line of the Job's log", async (_name, settings, expected) => {
    const { kubectl, helm } = stack();
    const used = await stack().relay.enrollmentCode("other", { signal: NO_END });
    const namespace = `fault-${FAULTS.findIndex(([, given]) => given === settings)}`;
    const install = async (more: readonly string[]): Promise<void> => {
      const sets = more.flatMap((value) => ["--set", value]);
      const args = ["upgrade", "--install", "fault", CHART, "--namespace", namespace, "--create-namespace"];
      expect(await helm([...args, "--values", await stack().values(), "--set", "replicas=1", ...sets])).toMatchObject({
        code: 0,
      });
    };
    if (settings(used).includes(`enrollment.code=${used}`)) {
      await install(["global.resourceName=other", `enrollment.code=${used}`]);
      await kubectl([
        "-n",
        namespace,
        "wait",
        "--for=condition=Complete",
        "job",
        "-l",
        "app.kubernetes.io/component=enrollment",
        "--timeout=90s",
      ]);
      await kubectl(["delete", "namespace", namespace]);
    }
    await install(settings(used));
    const line = await pollUntil(
      async () => {
        const pods = ["-l", "app.kubernetes.io/component=enrollment", "-c", "enroll", "--tail=-1"];
        const logs = await kubectl(["-n", namespace, "logs", ...pods]).catch(() => "");
        return logs.split("\n").find((candidate) => expected.test(candidate));
      },
      { signal: AbortSignal.timeout(WAIT_MS), intervalMs: 500 },
    );
    process.stderr.write(`${line}\n`);
    await kubectl(["delete", "namespace", namespace, "--wait=false"]);
  });
});
