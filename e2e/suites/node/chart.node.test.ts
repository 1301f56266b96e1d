import { createHash, randomBytes, X509Certificate } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { beforeAll, describe, expect, test } from "vitest";
import { NODE_IMAGE } from "../../src/cluster/node/image.ts";
import { missingForImages } from "../../src/images/provide.ts";
import { type RunResult, runToEnd } from "../../src/process/run-to-end.ts";
import { CLUSTER_AUDIENCE, RELAY_AUDIENCE } from "../../src/stack/issuer.ts";
import { NO_END } from "../support/stack.ts";
import { CLUSTER, installChart, installedAuthority, NAMESPACE, RELEASE, useChartStack } from "./support/chart-stack.ts";
import { liveThroughRelease } from "./support/helm-scene.ts";
import { idleScene } from "./support/idle-scene.ts";
import { answerScenes, streamScenes } from "./support/kubectl-scenes.ts";
import { IMAGE_FLAGS, PROTOCOLS } from "./support/node-stack.ts";
import type { Route } from "./support/routes.ts";
import { openTerminal } from "./support/terminal.ts";

const missing = await missingForImages(process.env);
const ACCOUNT = `system:serviceaccount:${NAMESPACE}:${RELEASE}`;
const MIB = 1_048_576;
/** Scenes in real time run with E2E_LONG=1 only. */
const LONG = process.env["E2E_LONG"] === "1";
const LONG_MS = 15 * 60_000;
/** The kubelet replaces it after 8 minutes. */
const SHORTEST_TOKEN_SECONDS = 600;
const COPY_BYTES = 1_024 * MIB;

async function writeRandom(path: string, bytes: number): Promise<void> {
  const parts = Array.from({ length: bytes / (16 * MIB) }, () => 16 * MIB);
  await pipeline(async function* () {
    for (const part of parts) yield randomBytes(part);
  }, createWriteStream(path));
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}

test.runIf(missing !== undefined)("the chart on a real node", (context) => context.skip(missing));

describe.skipIf(missing !== undefined)("the chart", () => {
  const stack = useChartStack();
  let env: Readonly<Record<string, string>>;
  const as =
    (given: () => Readonly<Record<string, string>>) =>
    (args: readonly string[], input?: string): Promise<RunResult> =>
      runToEnd(stack().tools.kubectl, args, {
        env: given(),
        signal: NO_END,
        cwd: stack().folder,
        ...(input === undefined ? {} : { input }),
      });
  const person = as(() => env);

  beforeAll(async () => {
    const { cluster, relay, issuer } = stack();
    await cluster.outside?.refuse([relay.url, issuer.url, cluster.apiserverUrl]);
    // The kube-apiserver refuses pods here that are less than restricted.
    await stack().kubectl(["create", "namespace", NAMESPACE]);
    const restricted = "pod-security.kubernetes.io/enforce=restricted";
    await stack().kubectl(["label", "namespace", NAMESPACE, restricted]);
    const code = await stack().relay.enrollmentCode(CLUSTER, { signal: NO_END });
    const from = performance.now();
    const installed = await installChart(stack(), [
      ...["--set", `enrollment.code=${code}`, "--set", `authProxy.tokenSeconds=${SHORTEST_TOKEN_SECONDS}`],
    ]);
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

  const podAddress = (): Promise<string> =>
    stack().kubectl([
      ...["-n", NAMESPACE, "get", "pods", "-l", "app.kubernetes.io/component=agent"],
      ...["-o", "jsonpath={.items[0].status.podIP}"],
    ]);

  /** The administrator straight at the kube-apiserver, and the person through the tunnel. */
  const routes = (more: Readonly<Record<string, string>> = {}): readonly Route[] => {
    const { tools, folder, cluster } = stack();
    const direct = { PATH: tools.path, HOME: folder, KUBECONFIG: cluster.kubeconfigPath, ...more };
    const tunnel = { ...env, ...more };
    return [
      { name: "direct", env: direct, run: as(() => direct) },
      { name: "tunnel", env: tunnel, run: as(() => tunnel) },
    ];
  };

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
    for (const port of [8_080, 8_081]) expect(await outside.reaches(await podAddress(), port)).toBe(false);
  });

  test("a pod listens where its health is asked for, and nowhere else", async () => {
    const script = `
      const lines = ["tcp", "tcp6"].flatMap((name) => require("fs").readFileSync("/proc/net/" + name, "utf8").split("\\n").slice(1));
      const listening = lines.map((line) => line.trim().split(/\\s+/)).filter(([, , , state]) => state === "0A");
      process.stdout.write(JSON.stringify(listening.map(([, local]) => parseInt(local.split(":")[1], 16)).sort()));`;
    const args = ["-n", NAMESPACE, "exec", `deployment/${RELEASE}`, "-c", "agent", "--", "node", "-e", script];
    expect(JSON.parse(await stack().kubectl(args))).toEqual([8_080, 8_081]);
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
    await kubectl(["wait", "--for=condition=Ready", "pod/stranger", "--timeout=180s"]);
    const ask = `for path in livez api/v1/namespaces; do wget -q -O /dev/null http://${await podAddress()}:8081/$path; echo $?; done`;
    expect(await kubectl(["exec", "stranger", "--", "sh", "-c", ask])).toBe("0\n1\n");
  });

  describe.each(PROTOCOLS)("over $name", (protocol) => {
    const kubectl = as(() => ({ ...env, ...protocol.env }));
    const pod = `pod-${protocol.name.toLowerCase()}`;
    beforeAll(async () => {
      expect(await kubectl(["run", pod, `--image=${NODE_IMAGE}`, "--image-pull-policy=Never"])).toMatchObject({
        code: 0,
      });
      expect(await kubectl(["wait", "--for=condition=Ready", `pod/${pod}`, "--timeout=180s"])).toMatchObject({
        code: 0,
      });
    });

    streamScenes(() => routes(protocol.env), pod);

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

    test("cp of 1 GiB there and back leaves every byte as it was", async () => {
      const [there, back] = [join(stack().folder, `${pod}-there`), join(stack().folder, `${pod}-back`)];
      await writeRandom(there, COPY_BYTES);
      const from = performance.now();
      expect(await kubectl(["cp", there, `${pod}:/tmp/copy`])).toMatchObject({ code: 0 });
      const middle = performance.now();
      expect(await kubectl(["cp", `${pod}:/tmp/copy`, back])).toMatchObject({ code: 0 });
      const rates = [middle - from, performance.now() - middle].map((ms) =>
        Math.round(COPY_BYTES / MIB / (ms / 1_000)),
      );
      process.stderr.write(`cp of 1 GiB over ${protocol.name}: ${rates.join(" MiB/s there, ")} MiB/s back\n`);
      expect(await sha256Of(back)).toBe(await sha256Of(there));
      await Promise.all([rm(there), rm(back), kubectl(["exec", pod, "--", "rm", "/tmp/copy"])]);
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

  describe("without a stream", () => {
    beforeAll(async () => {
      for (const args of [
        ["run", "answering", ...IMAGE_FLAGS],
        ["create", "deployment", "rolled", `--image=${NODE_IMAGE}`],
        ["wait", "--for=condition=Ready", "pod/answering", "--timeout=180s"],
        ["rollout", "status", "deployment/rolled", "--timeout=180s"],
      ]) {
        expect(await person(args)).toMatchObject({ code: 0 });
      }
    });
    answerScenes(() => routes(), "answering");
  });

  test("helm waits for pods: install, upgrade, rollback, uninstall", () => {
    const helm = (args: readonly string[]): Promise<RunResult> =>
      runToEnd(stack().tools.helm, args, { env, signal: NO_END, cwd: stack().folder });
    return liveThroughRelease(stack().folder, { helm, kubectl: person });
  });

  test.runIf(LONG)(
    "logs -f and exec say nothing for 10 minutes, port-forward for 5, the account's token is replaced: all go on",
    () => idleScene(stack(), env),
    LONG_MS,
  );

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
    const { fingerprint256 } = new X509Certificate(await installedAuthority(kubectl));
    const named = [`--from-literal=relay-audience=${RELAY_AUDIENCE}`];
    named.push(`--from-literal=cluster-fingerprint=${CLUSTER}=${fingerprint256}`);
    await kubectl(["-n", NAMESPACE, "create", "secret", "generic", "tokens", ...(await Promise.all(signed)), ...named]);
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
