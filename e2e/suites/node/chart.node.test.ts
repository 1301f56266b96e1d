import { createHash, randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { NODE_IMAGE } from "../../src/cluster/node/image.ts";
import { missingForImages } from "../../src/images/provide.ts";
import { type RunResult, runToEnd } from "../../src/process/run-to-end.ts";
import { CLUSTER_AUDIENCE, RELAY_AUDIENCE } from "../../src/stack/issuer.ts";
import { NO_END } from "../support/stack.ts";
import { CLUSTER, installChart, NAMESPACE, RELEASE, useChartStack } from "./support/chart-stack.ts";
import { PROTOCOLS } from "./support/node-stack.ts";
import { openTerminal } from "./support/terminal.ts";

const missing = await missingForImages(process.env);
const ACCOUNT = `system:serviceaccount:${NAMESPACE}:${RELEASE}`;
const MIB = 1_048_576;

test.runIf(missing !== undefined)("the chart on a real node", (context) => context.skip(missing));

describe.skipIf(missing !== undefined)("the chart", () => {
  const stack = useChartStack();
  let env: Readonly<Record<string, string>>;
  const as =
    (given: () => Readonly<Record<string, string>>) =>
    (args: readonly string[], input?: string): Promise<RunResult> =>
      runToEnd(stack().tools.kubectl, args, {
        ...{ env: given(), signal: NO_END, cwd: stack().folder },
        ...(input === undefined ? {} : { input }),
      });
  const person = as(() => env);

  beforeAll(async () => {
    await stack().cluster.outside?.refuse();
    const code = await stack().relay.enrollmentCode(CLUSTER, { signal: NO_END });
    const from = performance.now();
    const installed = await installChart(stack(), ["--set", `enrollment.code=${code}`]);
    if (installed.code !== 0) expect.fail(await describePods());
    process.stderr.write(`helm install --wait: ${Math.round(performance.now() - from)} ms\n`);
    env = (await stack().signIn("admin")).env;
  });

  async function describePods(): Promise<string> {
    const { kubectl } = stack();
    const events = await kubectl(["-n", NAMESPACE, "get", "pods,events", "-o", "wide"]);
    const logs = await kubectl([
      "-n",
      NAMESPACE,
      "logs",
      "-l",
      `app.kubernetes.io/instance=${RELEASE}`,
      "--all-containers",
      "--prefix",
      "--tail=20",
    ]).catch(String);
    return `${events}\n${logs}`;
  }

  test("both replicas are ready and the person is themselves in the cluster", async () => {
    const ready = await stack().kubectl([
      "-n",
      NAMESPACE,
      "get",
      "deployment",
      RELEASE,
      "-o",
      "jsonpath={.status.readyReplicas}",
    ]);
    expect(ready).toBe("2");
    const who = await person(["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"]);
    expect(who).toMatchObject({ code: 0, stdout: "demo:admin" });
  });

  test("nothing can be dialed in the pods from outside, and the tunnels are open nevertheless", async ({ skip }) => {
    const { outside } = stack().cluster;
    if (outside === undefined) return skip("nothing of ours is outside of this cluster");
    const address = await stack().kubectl([
      "-n",
      NAMESPACE,
      "get",
      "pods",
      "-l",
      "app.kubernetes.io/component=agent",
      "-o",
      "jsonpath={.items[0].status.podIP}",
    ]);
    expect(await outside.reaches(address, 8_080)).toBe(false);
  });

  test("the pods' account may impersonate and review, and nothing else", async () => {
    const listed = await stack().kubectl(["auth", "can-i", "--list", `--as=${ACCOUNT}`, "-n", NAMESPACE]);
    const lines = listed
      .split("\n")
      .slice(1)
      .filter((line) => line.trim() !== "");
    const others = lines.filter(
      (line) => !/impersonate|self(subject|subjectaccess|subjectrules)reviews|\[get\]|clustertrustbundles/.test(line),
    );
    expect(others).toEqual([]);
    for (const what of ["get secrets", "list pods", "create pods", "impersonate groups"]) {
      const [verb = "", resource = ""] = what.split(" ");
      const answer = await as(() => ({
        PATH: stack().tools.path,
        HOME: stack().folder,
        KUBECONFIG: stack().cluster.kubeconfigPath,
      }))(["auth", "can-i", verb, resource, `--as=${ACCOUNT}`]);
      expect(`${what}: ${answer.stdout.trim()}`).toBe(`${what}: no`);
    }
  });

  test("the Jobs' account may read and patch one Secret", async () => {
    const keeper = `--as=${ACCOUNT}-keeper`;
    const can = (...args: readonly string[]): Promise<string> =>
      stack()
        .kubectl(["auth", "can-i", ...args, keeper, "-n", NAMESPACE])
        .catch(() => "no");
    expect((await can("patch", `secret/${RELEASE}-identity`)).trim()).toBe("yes");
    for (const args of [
      ["get", "secrets"],
      ["get", "secret/other"],
      ["delete", `secret/${RELEASE}-identity`],
      ["create", "secrets"],
    ]) {
      expect((await can(...args)).trim()).toBe("no");
    }
  });

  test("the agent's container holds no token, the auth proxy's does", async () => {
    const exists =
      "process.stdout.write(String(require('fs').existsSync('/var/run/secrets/kubernetes.io/serviceaccount/token')))";
    const look = (container: string): Promise<string> =>
      stack().kubectl(["-n", NAMESPACE, "exec", `deployment/${RELEASE}`, "-c", container, "--", "node", "-e", exists]);
    expect(await look("agent")).toBe("false");
    expect(await look("auth-proxy")).toBe("true");
  });

  test.each(["agent", "auth-proxy"])(
    "the image of %s has no shell, no tools, an SBOM, and writes nowhere",
    async (container) => {
      const script = `
      const fs = require("node:fs");
      const there = (path) => fs.existsSync(path);
      let write = "written";
      try { fs.writeFileSync("/app/x", "") } catch (error) { write = error.code }
      const packages = fs.readdirSync("/app/node_modules/.pnpm").filter((name) => /^(typescript|vitest|@types\\+|@biomejs)/.test(name));
      const { bomFormat } = JSON.parse(fs.readFileSync("/app/sbom.cdx.json", "utf8"));
      process.stdout.write(JSON.stringify({ uid: process.getuid(), shell: there("/bin/sh"), write, packages, bomFormat }));`;
      const args = ["-n", NAMESPACE, "exec", `deployment/${RELEASE}`, "-c", container, "--", "node", "-e", script];
      const found: unknown = JSON.parse(await stack().kubectl(args));
      expect(found).toEqual({ uid: 65_532, shell: false, write: "EROFS", packages: [], bomFormat: "CycloneDX" });
    },
  );

  test("a pod of the cluster gets nothing from the auth proxy but its health", async () => {
    const { kubectl } = stack();
    await kubectl(["run", "stranger", `--image=${NODE_IMAGE}`, "--image-pull-policy=Never"]);
    await kubectl(["wait", "--for=condition=Ready", "pod/stranger", "--timeout=60s"]);
    const address = await kubectl([
      "-n",
      NAMESPACE,
      "get",
      "pods",
      "-l",
      "app.kubernetes.io/component=agent",
      "-o",
      "jsonpath={.items[0].status.podIP}",
    ]);
    const ask = `for path in livez api/v1/namespaces; do wget -q -O /dev/null http://${address}:8081/$path; echo $?; done`;
    expect(await kubectl(["exec", "stranger", "--", "sh", "-c", ask])).toBe("0\n1\n");
  });

  describe.each(PROTOCOLS)("over $name", (protocol) => {
    const kubectl = as(() => ({ ...env, ...protocol.env }));
    const pod = `pod-${protocol.name.toLowerCase()}`;
    beforeAll(async () => {
      expect(await kubectl(["run", pod, `--image=${NODE_IMAGE}`, "--image-pull-policy=Never"])).toMatchObject({
        code: 0,
      });
      expect(await kubectl(["wait", "--for=condition=Ready", `pod/${pod}`, "--timeout=60s"])).toMatchObject({
        code: 0,
      });
    });

    test("exec ends with the command's code", async () => {
      expect(await kubectl(["exec", pod, "--", "sh", "-c", "echo out; exit 42"])).toMatchObject({
        code: 42,
        stdout: "out\n",
      });
    });

    test("exec -it is a terminal", async () => {
      const terminal = await openTerminal(`stty rows 31 cols 91; kubectl exec -it ${pod} -- sh`, {
        ...env,
        ...protocol.env,
      });
      await terminal.shows(/# /);
      terminal.type("stty size\n");
      await terminal.shows(/31 91/);
      terminal.type("exit 7\n");
      expect(await terminal.ended).toBe(7);
    });

    test("cp of 100 MiB there and back leaves every byte as it was", async () => {
      const [there, back] = [join(stack().folder, `${pod}-there`), join(stack().folder, `${pod}-back`)];
      const bytes = randomBytes(100 * MIB);
      await writeFile(there, bytes);
      const from = performance.now();
      expect(await kubectl(["cp", there, `${pod}:/tmp/copy`])).toMatchObject({ code: 0 });
      expect(await kubectl(["cp", `${pod}:/tmp/copy`, back])).toMatchObject({ code: 0 });
      process.stderr.write(
        `cp of 100 MiB there and back over ${protocol.name}: ${Math.round(performance.now() - from)} ms\n`,
      );
      const hash = (content: Buffer): string => createHash("sha256").update(content).digest("hex");
      expect(hash(await readFile(back))).toBe(hash(bytes));
    });

    test("logs and attach reach the pod", async () => {
      const said = await kubectl(
        [
          "run",
          `${pod}-once`,
          `--image=${NODE_IMAGE}`,
          "--image-pull-policy=Never",
          "--restart=Never",
          "-i",
          "--rm",
          "--quiet",
          "--command",
          "--",
          "cat",
        ],
        "through and back\n",
      );
      expect(said).toMatchObject({ code: 0, stdout: "through and back\n" });
    });
  });

  test("helm test sends a request from the cluster through the relay to the kube-apiserver", async () => {
    const { kubectl, helm, issuer } = stack();
    const now = Math.floor(Date.now() / 1_000);
    const claims = {
      iss: issuer.url,
      sub: "admin",
      preferred_username: "admin",
      groups: ["admins"],
      iat: now,
      exp: now + 600,
    };
    const tokens = { "relay-token": RELAY_AUDIENCE, "cluster-token": CLUSTER_AUDIENCE };
    const signed = Object.entries(tokens).map(
      async ([key, aud]) => `--from-literal=${key}=${await issuer.sign({ ...claims, aud })}`,
    );
    await kubectl(["-n", NAMESPACE, "create", "secret", "generic", "tokens", ...(await Promise.all(signed))]);
    expect(await installChart(stack(), ["--reuse-values", "--set", "test.existingSecret=tokens"])).toMatchObject({
      code: 0,
    });
    const done = await helm(["test", RELEASE, "--namespace", NAMESPACE, "--logs", "--timeout", "90s"]);
    expect(done).toMatchObject({ code: 0 });
    expect(done.stdout).toContain("ok    grants");
  });

  test("helm upgrade with the same values changes nothing and keeps the identity", async () => {
    const { kubectl } = stack();
    const identity = (): Promise<string> =>
      kubectl(["-n", NAMESPACE, "get", "secret", `${RELEASE}-identity`, "-o", "jsonpath={.data}"]);
    const before = await identity();
    expect(await installChart(stack(), ["--reuse-values"])).toMatchObject({ code: 0 });
    expect(await identity()).toBe(before);
  });
});
