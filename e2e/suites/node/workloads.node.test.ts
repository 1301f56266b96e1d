import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { NODE_IMAGE } from "../../src/cluster/node/image.ts";
import type { Person } from "../support/stack.ts";
import { type Kubectl, kubectlOver, PROTOCOLS, startPod, useNodeStack } from "./support/node-stack.ts";

const suite = useNodeStack();
let admin: Person;
let kubectl: Kubectl;

beforeAll(async () => {
  admin = await suite().signIn("admin");
  kubectl = kubectlOver(PROTOCOLS[0] ?? expect.fail(), admin, suite());
});

const NAME = "web";
const TIMEOUT = "--timeout=90s";

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

test("helm waits for pods: install, upgrade, rollback, uninstall", async () => {
  const chart = join(suite().folder, "chart");
  await mkdir(join(chart, "templates"), { recursive: true });
  await writeFile(join(chart, "Chart.yaml"), "apiVersion: v2\nname: pods\nversion: 0.1.0\n");
  await writeFile(join(chart, "values.yaml"), "word: first\n");
  await writeFile(join(chart, "templates", "deployment.yaml"), deployment());
  const helm = async (...args: readonly string[]): Promise<string> => {
    const done = await admin.run("helm", args);
    expect(done).toMatchObject({ code: 0 });
    return done.stdout;
  };
  const wait = ["--wait", "--timeout", "90s"];
  const word = (): Promise<string> =>
    kubectl.succeed(["get", "deployment", "charted", "-o", "jsonpath={.status.readyReplicas} {.metadata.labels.word}"]);
  await helm("install", "release", chart, ...wait);
  expect(await word()).toBe("1 first");
  await helm("upgrade", "release", chart, "--set", "word=second", ...wait);
  expect(await word()).toBe("1 second");
  await helm("rollback", "release", "1", ...wait);
  expect(await word()).toBe("1 first");
  await helm("uninstall", "release", ...wait);
  expect(await kubectl.succeed(["get", "deployment", "charted", "--ignore-not-found"])).toBe("");
});

function deployment(): string {
  const labels = { app: "charted", word: "{{ .Values.word }}" };
  const spec = {
    terminationGracePeriodSeconds: 1,
    containers: [{ name: "main", image: NODE_IMAGE, imagePullPolicy: "Never" }],
  };
  return JSON.stringify({
    ...{ apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "charted", labels } },
    spec: { selector: { matchLabels: { app: "charted" } }, template: { metadata: { labels }, spec } },
  });
}
