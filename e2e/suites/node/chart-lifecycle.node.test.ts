import { beforeAll, describe, expect, test } from "vitest";
import { NODE_IMAGE } from "../../src/cluster/node/image.ts";
import { missingForImages } from "../../src/images/provide.ts";
import { pollUntil } from "../../src/process/poll.ts";
import { type RunResult, runToEnd } from "../../src/process/run-to-end.ts";
import { NO_END } from "../support/stack.ts";
import { AGENTS } from "./support/agent-pods.ts";
import { askMeanwhile } from "./support/asking.ts";
import { CLUSTER, installChart, NAMESPACE, RELEASE, useChartStack } from "./support/chart-stack.ts";
import { faultScenes } from "./support/fault-scenes.ts";
import { startStreams } from "./support/long-streams.ts";

const missing = await missingForImages(process.env);
/** Time that the pods have for their streams, see the values of the stack. */
const DRAIN_MS = 5_000;
/** Until what ran on a pod ends with a reason. */
const REASON_MS = 15_000;
const WAIT_MS = 60_000;

describe.skipIf(missing !== undefined)("the chart over time", () => {
  const stack = useChartStack();
  let env: Readonly<Record<string, string>>;
  const person = (args: readonly string[]): Promise<RunResult> =>
    runToEnd(stack().tools.kubectl, args, { env, signal: NO_END, cwd: stack().folder });

  beforeAll(async () => {
    const { cluster, relay, issuer } = stack();
    await cluster.outside?.refuse([relay.url, issuer.url, cluster.apiserverUrl]);
    const code = await stack().relay.enrollmentCode(CLUSTER, { signal: NO_END });
    expect(await installChart(stack(), ["--set", `enrollment.code=${code}`])).toMatchObject({ code: 0 });
    env = (await stack().signIn("admin")).env;
    expect(await person(["run", "counter", `--image=${NODE_IMAGE}`, "--image-pull-policy=Never"])).toMatchObject({
      code: 0,
    });
    expect(await person(["wait", "--for=condition=Ready", "pod/counter", "--timeout=180s"])).toMatchObject({ code: 0 });
  });

  const ask = (): Promise<RunResult> => person(["get", "namespace", "default", "-o", "name"]);

  test("while a pod is deleted requests go on, streams of the other run to their end, its own end with a reason", async () => {
    const { kubectl, tools, folder, keeper } = stack();
    const streams = startStreams("counter", { kubectl: tools.kubectl, env, folder, keeper });
    await streams.opened((args) => kubectl(args));
    const [victim = ""] = (await kubectl(["-n", NAMESPACE, "get", "pods", ...AGENTS, "-o", "name"])).split("\n");
    let deletedAt = 0;
    const { asked, longestMs } = await askMeanwhile(ask, async () => {
      deletedAt = performance.now();
      await kubectl(["-n", NAMESPACE, "delete", victim, "--wait=true"]);
      await kubectl(["-n", NAMESPACE, "rollout", "status", `deployment/${RELEASE}`, "--timeout=180s"]);
    });
    const ended = await streams.ended();
    const cut = ended.filter(({ whole }) => !whole);
    const shown = cut.map(
      ({ kind, endedAt, reason }) => `${kind} after ${Math.round(endedAt - deletedAt)} ms: ${reason}`,
    );
    process.stderr.write(
      `a pod deleted: ${asked} requests, longest without an answer ${longestMs} ms, ` +
        `${ended.length - cut.length} streams whole, ${cut.length} ended\n${shown.join("\n")}\n`,
    );
    expect(longestMs).toBe(0);
    // Which replica has which stream is the relay's choice: the one with the fewest.
    expect(cut.length).toBeGreaterThan(0);
    expect(ended.length).toBeGreaterThan(cut.length);
    for (const { endedAt, reason } of cut) {
      expect(reason).not.toBe("");
      expect(endedAt - deletedAt).toBeLessThan(DRAIN_MS + REASON_MS);
    }
  });

  test("while the release is upgraded no request fails, and the identity stays", async () => {
    const { kubectl } = stack();
    const identity = (): Promise<string> =>
      kubectl(["-n", NAMESPACE, "get", "secret", `${RELEASE}-identity`, "-o", "jsonpath={.data}"]);
    const before = await identity();
    const { asked, longestMs } = await askMeanwhile(ask, async () => {
      expect(await installChart(stack(), ["--set", "agent.logLevel=debug"])).toMatchObject({ code: 0 });
    });
    process.stderr.write(`an upgrade: ${asked} requests, longest without an answer ${longestMs} ms\n`);
    expect(longestMs).toBe(0);
    expect(await identity()).toBe(before);
  });

  test("the disruption budget lets one replica go and keeps the other", async () => {
    const { kubectl, cluster, tools, folder } = stack();
    // Pods that the upgrade before has replaced may still be ending.
    const two = async (): Promise<readonly string[] | undefined> => {
      const where = ["-n", NAMESPACE, "get", "pods", ...AGENTS, "-o", "jsonpath={.items[*].metadata.name}"];
      const names = (await kubectl(where)).split(" ");
      return names.length === 2 ? names : undefined;
    };
    const pods = await pollUntil(two, { signal: AbortSignal.timeout(WAIT_MS), intervalMs: 500 });
    await kubectl([
      ...["-n", NAMESPACE, "wait", "--for=jsonpath={.status.disruptionsAllowed}=1", `pdb/${RELEASE}`, "--timeout=30s"],
    ]);
    const evict = (name: string): Promise<RunResult> => {
      const path = `/api/v1/namespaces/${NAMESPACE}/pods/${name}/eviction`;
      const metadata = { name, namespace: NAMESPACE };
      return runToEnd(tools.kubectl, ["create", "--raw", path, "-f", "-"], {
        env: { PATH: tools.path, HOME: folder, KUBECONFIG: cluster.kubeconfigPath },
        signal: NO_END,
        input: JSON.stringify({ apiVersion: "policy/v1", kind: "Eviction", metadata }),
      });
    };
    const [first = "", second = ""] = pods;
    const { longestMs } = await askMeanwhile(ask, async () => {
      expect(await evict(first)).toMatchObject({ code: 0 });
      const refused = await evict(second);
      expect(refused.code).toBe(1);
      expect(refused.stderr).toContain("Cannot evict pod as it would violate the pod's disruption budget");
      await kubectl(["-n", NAMESPACE, "rollout", "status", `deployment/${RELEASE}`, "--timeout=180s"]);
    });
    expect(longestMs).toBe(0);
  });

  faultScenes(stack);
});
