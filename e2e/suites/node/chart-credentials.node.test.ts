import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { connect } from "node:tls";
import { beforeAll, describe, expect, type TestContext, test } from "vitest";
import { createAuthority } from "../../src/cluster/control-plane/certificates.ts";
import { APISERVER_HOSTS, FILES } from "../../src/cluster/control-plane/components.ts";
import { missingForImages } from "../../src/images/provide.ts";
import { pollUntil } from "../../src/process/poll.ts";
import { type RunResult, runToEnd } from "../../src/process/run-to-end.ts";
import { NO_END } from "../support/stack.ts";
import { AGENTS, credentialsFolder, podEvents, restarts, usedTokens } from "./support/agent-pods.ts";
import { askMeanwhile } from "./support/asking.ts";
import { CLUSTER, installChart, NAMESPACE, useChartStack } from "./support/chart-stack.ts";

const missing = await missingForImages(process.env);
/** Goes on beyond the life of the first authority, which takes ten minutes. */
const LONG = process.env["E2E_LONG"] === "1";
/** Lives of credentials, seconds; the shortest that Kubernetes gives a ServiceAccount's token are ten minutes. */
const LIFE = { caller: 30, serving: 45, authority: 600, account: 600 } as const;
const WAIT_MS = 8 * 60_000;
const NOT_OURS = "the control plane is not of our own, so it is not started again";

describe.skipIf(missing !== undefined)("credentials of the chart", () => {
  const stack = useChartStack({ accessTokenSeconds: LIFE.caller });
  let env: Readonly<Record<string, string>>;
  const person = (args: readonly string[], input?: string): Promise<RunResult> =>
    runToEnd(stack().tools.kubectl, args, {
      env,
      signal: NO_END,
      cwd: stack().folder,
      ...(input === undefined ? {} : { input }),
    });
  const ask = (): Promise<RunResult> => person(["get", "namespace", "default", "-o", "name"]);
  const until = (holds: () => Promise<boolean>): Promise<true> =>
    pollUntil(async () => ((await holds()) ? true : undefined), {
      signal: AbortSignal.timeout(WAIT_MS),
      intervalMs: 1_000,
    });

  beforeAll(async () => {
    const code = await stack().relay.enrollmentCode(CLUSTER, { signal: NO_END });
    const values = {
      "enrollment.code": code,
      "authProxy.tokenSeconds": LIFE.account,
      "authProxy.certificate.servingSeconds": LIFE.serving,
      "authProxy.certificate.caSeconds": LIFE.authority,
      "rotation.schedule": "* * * * *",
    };
    const sets = Object.entries(values).flatMap(([name, value]) => ["--set", `${name}=${value}`]);
    expect(await installChart(stack(), sets)).toMatchObject({ code: 0 });
    env = (await stack().signIn("admin")).env;
  });

  /** The certificate that the relay shows to a dialer. */
  async function relayCertificate(): Promise<string> {
    const { hostname: host, port } = new URL(stack().relay.url);
    const socket = connect({ host, port: Number(port), ca: await readFile(stack().caFile, "utf8") });
    await once(socket, "secureConnect");
    const { fingerprint256 } = socket.getPeerCertificate();
    socket.destroy();
    return fingerprint256;
  }

  /** Resolves when the apiserver answers its administrator. */
  const backAgain = (): Promise<true> =>
    until(() =>
      stack()
        .kubectl(["get", "--raw", "/readyz"])
        .then(
          () => true,
          () => false,
        ),
    );

  async function expectService(turns = 10): Promise<void> {
    const object = (turn: number): string =>
      JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { generateName: `turn-${turn}-` } });
    for (let turn = 0; turn < turns; turn++) {
      expect(await ask()).toMatchObject({ code: 0 });
      expect(await person(["create", "-f", "-"], object(turn))).toMatchObject({ code: 0 });
    }
    expect(await restarts(stack())).toBe("0 0 0 0");
  }

  const ownControlPlane = ({ skip }: TestContext): void => {
    skip(stack().cluster.restart === undefined, NOT_OURS);
  };

  test("an apiserver that starts again is asked as before, from its first answer on", async (context) => {
    ownControlPlane(context);
    const { failures, longestMs } = await askMeanwhile(ask, async () => {
      await stack().cluster.restart?.("kube-apiserver");
      await backAgain();
      await expectService();
    });
    process.stderr.write(`apiserver restarted: ${longestMs} ms without it, said: ${[...failures].join(" | ")}\n`);
  });

  test("an apiserver with a certificate of another authority is believed as soon as the cluster's bundle has it", async (context) => {
    ownControlPlane(context);
    const { cluster, kubectl } = stack();
    const folder = credentialsFolder(stack());
    const next = await createAuthority("the cluster's next authority", { now: () => new Date() });
    const former = await readFile(join(folder, FILES.ca), "utf8");
    const bundle = `${former.trim()}\n${next.certPem.trim()}\n`;
    await writeFile(join(folder, FILES.ca), bundle);
    const base64 = (text: string): string => Buffer.from(text).toString("base64");
    const kubeconfigs = [
      FILES.admin,
      FILES.controllerManager,
      FILES.scheduler,
      FILES.kubeletKubeconfig,
      FILES.kubeProxy,
    ];
    for (const name of kubeconfigs) {
      const text = await readFile(join(folder, name), "utf8");
      await writeFile(
        join(folder, name),
        text.replace(/certificate-authority-data: .*/, `certificate-authority-data: ${base64(bundle)}`),
      );
    }
    const { failures } = await askMeanwhile(ask, async () => {
      for (const name of ["kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"])
        await cluster.restart?.(name);
      await until(async () => (await bundleInPods()).every((count) => count === 2));
    });
    expect([...failures]).toEqual([]);
    const leaf = await next.issue({ commonName: "kube-apiserver", hosts: [...APISERVER_HOSTS, cluster.hostAddress] });
    await writeFile(join(folder, `${FILES.apiserver}.crt`), leaf.certPem);
    await writeFile(join(folder, `${FILES.apiserver}.key`), leaf.keyPem);
    await cluster.restart?.("kube-apiserver");
    await backAgain();
    await expectService();

    /** How many authorities each auth proxy's file of the cluster has. */
    async function bundleInPods(): Promise<readonly number[]> {
      const names = await kubectl([
        "-n",
        NAMESPACE,
        "get",
        "pods",
        ...AGENTS,
        "-o",
        "jsonpath={.items[*].metadata.name}",
      ]);
      const script =
        "process.stdout.write(require('fs').readFileSync('/var/run/secrets/kubernetes.io/serviceaccount/ca.crt'))";
      const read = (name: string): Promise<string> =>
        kubectl(["-n", NAMESPACE, "exec", name, "-c", "auth-proxy", "--", "node", "-e", script]).catch(() => "");
      const texts = await Promise.all(names.split(" ").map(read));
      return texts.map((text) => text.split("BEGIN CERTIFICATE").length - 1);
    }
  });

  test("each credential is replaced while requests go on: none fails, nothing starts again", async () => {
    const { cluster, relay } = stack();
    // The authority in the kubeconfig has to outlive this test, also where the others took long.
    env = (await stack().signIn("admin")).env;
    const first = await relayCertificate();
    const count = async (container: string, event: string): Promise<number> =>
      (await podEvents(stack(), container)).filter((line) => line["event"] === event).length;
    const { asked, longestMs, failures } = await askMeanwhile(ask, async () => {
      await relay.renewCertificate();
      // It asks for a token anew, since it had the former in its memory only.
      await cluster.restart?.("kubelet");
      await until(async () => (await relayCertificate()) !== first);
      await until(async () => (await count("agent", "key.changed")) >= 4);
      await until(async () => (await count("auth-proxy", "certificate.issued")) >= 8);
      await until(async () => (await count("auth-proxy", "authority.renewed")) >= 2);
      if (cluster.restart !== undefined) await until(async () => (await usedTokens(stack())).size >= 4);
      if (LONG) await outliveFirstAuthority(() => count("agent", "key.changed"));
    });
    const [keys, authorities] = [await count("agent", "key.changed"), await count("auth-proxy", "authority.renewed")];
    process.stderr.write(
      `credentials replaced: ${asked} requests, longest without an answer ${longestMs} ms, ` +
        `${keys} keys taken, ${authorities} authorities, ${await count("auth-proxy", "certificate.issued")} certificates, ` +
        `${(await usedTokens(stack())).size} tokens of the account\n`,
    );
    expect([...failures]).toEqual([]);
    expect(await restarts(stack())).toBe("0 0 0 0");
  });

  /**
   * Waits until the authority in the person's kubeconfig has ended.
   *
   * The person connects again once a tunnel has told the relay the next authority.
   */
  async function outliveFirstAuthority(keys: () => Promise<number>): Promise<void> {
    const before = await keys();
    await until(async () => (await keys()) >= before + 2);
    env = (await stack().signIn("admin")).env;
    const [first] = (await podEvents(stack(), "auth-proxy")).filter((line) => line["event"] === "certificate.issued");
    const end = Date.parse(String(first?.["time"])) + (LIFE.authority + 10) * 1_000;
    await until(async () => Date.now() > end);
  }
});
