import { beforeAll, expect, test } from "vitest";
import { NODE_IMAGE } from "../../src/cluster/node/image.ts";
import type { Person } from "../support/stack.ts";
import { liveThroughRelease } from "./support/helm-scene.ts";
import { type Kubectl, kubectlOver, PROTOCOLS, startPod, useNodeStack } from "./support/node-stack.ts";

const suite = useNodeStack();
let admin: Person;
let kubectl: Kubectl;

beforeAll(async () => {
  admin = await suite().signIn("admin");
  kubectl = kubectlOver(PROTOCOLS[0] ?? expect.fail(), admin, suite());
});

const NAME = "web";
const TIMEOUT = "--timeout=180s";

test("rollout status waits for a Deployment, its change and its way back", async () => {
  await kubectl.succeed(["create", "deployment", NAME, `--image=${NODE_IMAGE}`, "--replicas=2"]);
  const status = ["rollout", "status", `deployment/${NAME}`, TIMEOUT];
  const done = `deployment "${NAME}" successfully rolled out\n`;
  expect(await kubectl.succeed(status)).toContain(done);
  await kubectl.succeed(["wait", "--for=condition=Available", `deployment/${NAME}`, TIMEOUT]);
  await kubectl.succeed(["patch", "deployment", NAME, "-p", quickEnd()]);
  expect(await kubectl.succeed(status)).toContain(done);
  await kubectl.succeed(["rollout", "undo", `deployment/${NAME}`]);
  expect(await kubectl.succeed(status)).toContain(done);
});

/** A change of the pods, and no wait for those that end. */
function quickEnd(): string {
  const template = { metadata: { labels: { changed: "yes" } }, spec: { terminationGracePeriodSeconds: 1 } };
  return JSON.stringify({ spec: { template } });
}

test("a pod has its ServiceAccount's token and reaches the apiserver by its Service", async () => {
  await startPod(kubectl, "inside");
  const exec = (script: string): Promise<string> => kubectl.succeed(["exec", "inside", "--", "sh", "-c", script]);
  const files = "/var/run/secrets/kubernetes.io/serviceaccount";
  expect(await exec(`cat ${files}/namespace`)).toBe("default");
  expect((await exec(`cat ${files}/token`)).split(".")).toHaveLength(3);
  expect(await exec("nc -w 5 $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT < /dev/null && echo reached")).toBe(
    "reached\n",
  );
});

test("top says that there are no metrics, and does not hang", async () => {
  const done = await kubectl.run(["top", "pods"]);
  expect(done).toMatchObject({ code: 1, stdout: "" });
  expect(done.stderr).toContain("Metrics API not available");
});

test("helm waits for pods: install, upgrade, rollback, uninstall", () =>
  liveThroughRelease(suite().folder, { helm: (args) => admin.run("helm", args), kubectl: kubectl.run }));
