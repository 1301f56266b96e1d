import { ConnectError } from "@cluster-connect/protocol";
import { pollUntil } from "../../process/poll.ts";
import type { AdminKubectl } from "../../stack/kubectl.ts";
import { NODE_IMAGE } from "../node/image.ts";

const POD = "cluster-connect-check";
const SAID = "this pod runs";
const TIMEOUT_MS = 180_000;
const INTERVAL_MS = 500;

export interface CheckOptions {
  readonly signal: AbortSignal;
  /** When what does not work by then counts as broken. */
  readonly giveUp?: AbortSignal;
  readonly intervalMs?: number;
}

/** Checks of the abilities that every suite takes for granted, in the order in which one needs the other. */
const IN_A_POD: readonly { readonly what: string; readonly script: string }[] = [
  {
    what: "reach the kube-apiserver by its Service's address",
    script: "nc -w 2 $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT < /dev/null",
  },
  { what: "find a Service by its name", script: "nslookup kubernetes.default.svc.cluster.local" },
];

/**
 * Shows, before a suite begins, that a pod starts, that exec and logs reach it, and that it reaches Services by address
 * and name.
 *
 * @throws ConnectError `CC_KUBERNETES_UNAVAILABLE` that says which of these does not work.
 */
export async function checkPods(kubectl: AdminKubectl, options: CheckOptions): Promise<void> {
  const { giveUp = AbortSignal.timeout(TIMEOUT_MS), intervalMs = INTERVAL_MS } = options;
  const signal = AbortSignal.any([options.signal, giveUp]);
  const works = async (what: string, attempt: () => Promise<unknown>): Promise<void> => {
    let last: unknown;
    const once = async (): Promise<true | undefined> => {
      try {
        await attempt();
        return true;
      } catch (error) {
        last = error;
        return undefined;
      }
    };
    await pollUntil(once, { signal, intervalMs }).catch(() => {
      options.signal.throwIfAborted();
      throw new ConnectError("CC_KUBERNETES_UNAVAILABLE", `The cluster is up, but ${what}`, { cause: last });
    });
  };
  const command = ["--command", "--", "sh", "-c", `echo ${SAID}; sleep 600`];
  const pod = [`--image=${NODE_IMAGE}`, "--image-pull-policy=Never", "--restart=Never", ...command];
  await works("no pod can be made", () => kubectl(["run", POD, ...pod]));
  await works("no pod starts", () => kubectl(["wait", "--for=condition=Ready", `pod/${POD}`, "--timeout=1s"]));
  await works("kubectl exec does not reach a pod", () => kubectl(["exec", POD, "--", "true"]));
  await works("kubectl logs shows nothing of a pod", async () => {
    const said = await kubectl(["logs", POD]);
    if (!said.includes(SAID)) throw new Error(`it shows ${said.length} characters`);
  });
  for (const { what, script } of IN_A_POD) {
    await works(`pods do not ${what}`, () => kubectl(["exec", POD, "--", "sh", "-c", script]));
  }
  await kubectl(["delete", "pod", POD, "--grace-period=1", "--wait=false"]);
}
