import { ConnectError } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import { checkPods } from "../../../src/cluster/kind/check-pods.ts";

const NO_END = new AbortController().signal;

/** A cluster in which one thing does not work; time is up when that was asked for. */
function clusterWithout(broken: string) {
  const asked: string[] = [];
  const timeout = new AbortController();
  const answer = async (args: readonly string[]): Promise<string> => {
    const line = args.join(" ");
    asked.push(line);
    if (broken !== "" && line.includes(broken)) {
      timeout.abort();
      throw new ConnectError("CC_KUBERNETES_UNAVAILABLE", "kubectl failed");
    }
    return args[0] === "logs" ? "this pod runs\n" : "";
  };
  return { asked, kubectl: answer, giveUp: timeout.signal };
}

test("where everything works nothing is left of the check", async () => {
  const { asked, kubectl, giveUp } = clusterWithout("");
  await checkPods(kubectl, { signal: NO_END, giveUp });
  expect(asked.map((line) => line.split(" ")[0])).toEqual(["run", "wait", "exec", "logs", "exec", "exec", "delete"]);
});

test.each([
  ["run ", "The cluster is up, but no pod can be made"],
  ["wait ", "The cluster is up, but no pod starts"],
  ["-- true", "The cluster is up, but kubectl exec does not reach a pod"],
  ["logs ", "The cluster is up, but kubectl logs shows nothing of a pod"],
  ["KUBERNETES_SERVICE_HOST", "The cluster is up, but pods do not reach the kube-apiserver by its Service's address"],
  ["nslookup", "The cluster is up, but pods do not find a Service by its name"],
])("a cluster in which %j fails is refused with what does not work", async (broken, message) => {
  const { kubectl, giveUp } = clusterWithout(broken);
  const checked = checkPods(kubectl, { signal: NO_END, giveUp });
  await expect(checked).rejects.toMatchObject({ code: "CC_KUBERNETES_UNAVAILABLE", message });
});

test("an attempt that fails is made again", async () => {
  const { asked, kubectl, giveUp } = clusterWithout("");
  const failed = new Set<string>();
  const atFirst = async (args: readonly string[]): Promise<string> => {
    const line = args.join(" ");
    if (args[0] === "delete" || failed.has(line)) return kubectl(args);
    failed.add(line);
    throw new ConnectError("CC_KUBERNETES_UNAVAILABLE", "kubectl failed");
  };
  await checkPods(atFirst, { signal: NO_END, giveUp, intervalMs: 1 });
  expect(asked).toHaveLength(7);
});
