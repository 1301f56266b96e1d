import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { missingForImages } from "../../src/images/provide.ts";
import type { RunResult } from "../../src/process/run-to-end.ts";
import { runToEnd } from "../../src/process/run-to-end.ts";
import { writeAuthentication } from "../../src/stack/authentication.ts";
import { type Cli, createCli } from "../../src/stack/cli.ts";
import { CLUSTER_AUDIENCE } from "../../src/stack/issuer.ts";
import { NO_END } from "../support/stack.ts";
import { CLUSTER, NAMESPACE, useChartStack } from "./support/chart-stack.ts";

const missing = await missingForImages(process.env);

interface Steps {
  readonly ok: boolean;
  readonly changed: boolean;
  readonly steps: readonly { readonly check: string; readonly status: string; readonly detail: string }[];
}

describe.skipIf(missing !== undefined)("cluster-connect connect", () => {
  const stack = useChartStack();
  let cli: Cli;
  let authentication: string;

  beforeAll(async () => {
    const { folder, caFile, relay, issuer, tools, keeper, issuerCaPem } = stack();
    cli = await createCli(
      { folder: join(folder, "cli"), relay: { url: relay.url, caFile }, path: tools.path, signal: NO_END },
      { keeper },
    );
    await cli.login("admin", "browser");
    authentication = join(folder, "authentication.yaml");
    await writeAuthentication(authentication, {
      issuerUrl: issuer.url,
      audience: CLUSTER_AUDIENCE,
      issuerCaPem,
    });
  });

  const inCluster = (kubeconfig = stack().cluster.kubeconfigPath): readonly string[] => ["--kubeconfig", kubeconfig];
  const connect = (...more: readonly string[]): Promise<RunResult> =>
    cli.run([
      ...["connect", "-n", CLUSTER, ...inCluster(), "--authentication", authentication, "--timeout", "2m"],
      ...["--set", "image.pullPolicy=Never", "--set", "agent.drainSeconds=5", ...more],
    ]);
  const stepsOf = ({ stdout }: RunResult): Steps => JSON.parse(stdout);
  const namespaces = (): Promise<string> => stack().kubectl(["get", "namespaces", "-o", "name"]);

  test("a person without the rights is told all that is missing, and nothing is changed", async () => {
    const { kubectl, cluster, folder } = stack();
    await kubectl(["create", "serviceaccount", "weak"]);
    const token = (await kubectl(["create", "token", "weak"])).trim();
    const path = join(folder, "weak.kubeconfig");
    await writeFile(
      path,
      JSON.stringify({
        apiVersion: "v1",
        kind: "Config",
        "current-context": "weak",
        contexts: [{ name: "weak", context: { cluster: "weak", user: "weak" } }],
        clusters: [
          {
            name: "weak",
            cluster: {
              server: cluster.apiserverUrl,
              "certificate-authority-data": Buffer.from(cluster.caPem).toString("base64"),
            },
          },
        ],
        users: [{ name: "weak", user: { token } }],
      }),
    );
    const before = await namespaces();
    const done = await connect(...inCluster(path));
    expect(done.code).toBe(55);
    expect(done.stdout).toMatch(
      /FAIL {2}permissions +You may not create namespaces, .*create deployments.*clusterroles/,
    );
    expect(await namespaces()).toBe(before);
  });

  test("a relay that is not there is found before anything is changed", async () => {
    const before = await namespaces();
    const done = await connect("--relay", "https://relay.invalid");
    expect(done.stdout).toMatch(/FAIL {2}name +.*relay\.invalid/);
    expect(done.code).not.toBe(0);
    expect(await namespaces()).toBe(before);
  });

  test("--dry-run says what would be done and does nothing", async () => {
    const before = await namespaces();
    const done = await connect("--dry-run");
    expect(done).toMatchObject({ code: 0 });
    expect(done.stdout).toContain("ok    permissions");
    expect(await namespaces()).toBe(before);
  });

  test("a code that is wrong ends it soon, in one line with what to do", async () => {
    const done = await connect("--code", "cc1-wrong");
    expect(done.code).toBe(56);
    expect(done.stdout).toMatch(/FAIL {2}install +The enrollment failed: .*code/i);
  });

  test("it makes a code, installs, and waits until the relay has reached the kube-apiserver; again changes nothing", async () => {
    const from = performance.now();
    const done = await connect();
    process.stderr.write(`${done.stdout}cluster-connect connect: ${Math.round(performance.now() - from)} ms\n`);
    expect(done).toMatchObject({ code: 0 });
    expect(done.stdout).toContain("ok    end to end");
    const who = await cli.run(["run", "-n", CLUSTER, "--", "kubectl", "auth", "whoami", "-o", "name"]);
    expect(who).toMatchObject({ code: 0 });
    const secret = (): Promise<string> =>
      stack().kubectl(["-n", NAMESPACE, "get", "secret", "cluster-connect-agent-identity", "-o", "jsonpath={.data}"]);
    const identity = await secret();
    const again = stepsOf(await connect("--output", "json"));
    expect(again).toMatchObject({ ok: true });
    expect(again.steps.map(({ check }) => check)).not.toContain("code");
    expect(await secret()).toBe(identity);
  });

  test("another name for a cluster that is connected is refused", async () => {
    const done = await cli.run(["connect", "-n", "another", ...inCluster()]);
    expect(done).toMatchObject({ code: 56 });
    expect(done.stdout).toContain(`connected as ${CLUSTER} already`);
  });

  test("upgrade keeps the values", async () => {
    const done = await cli.run(["upgrade", ...inCluster(), "--set", "agent.logLevel=debug", "--output", "json"]);
    expect(stepsOf(done)).toMatchObject({ ok: true, changed: true });
    const who = await cli.run(["run", "-n", CLUSTER, "--", "kubectl", "get", "namespaces", "-o", "name"]);
    expect(who.stdout).toContain("namespace/default");
  });

  test("disable ends the way to the cluster, enable opens it again", async () => {
    expect(await cli.run(["disable", "-n", CLUSTER])).toMatchObject({ code: 0 });
    const refused = await cli.run(["run", "-n", CLUSTER, "--wait", "1s", "--", "true"]);
    expect(refused.code).not.toBe(0);
    expect(await cli.run(["enable", "-n", CLUSTER])).toMatchObject({ code: 0 });
    expect(await cli.run(["run", "-n", CLUSTER, "--wait", "30s", "--", "true"])).toMatchObject({ code: 0 });
  });

  test("disconnect takes everything out again and revokes the key", async () => {
    const done = await cli.run(["disconnect", ...inCluster()]);
    expect(done).toMatchObject({ code: 0 });
    expect(done.stdout).toContain("1 revoked");
    const left = await runToEnd(
      stack().tools.kubectl,
      ["get", "pods,deployments,jobs,cronjobs,secrets,rolebindings", "-n", NAMESPACE, "-o", "name"],
      {
        env: { PATH: stack().tools.path, HOME: stack().folder, KUBECONFIG: stack().cluster.kubeconfigPath },
        signal: NO_END,
      },
    );
    expect(left.stdout).not.toContain("cluster-connect-agent");
  });
});
