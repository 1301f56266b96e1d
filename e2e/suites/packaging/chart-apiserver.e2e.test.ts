import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import type { Tools } from "../../src/cluster/binaries/tools.ts";
import { type RunResult, runToEnd } from "../../src/process/run-to-end.ts";
import {
  type ChartName,
  chartFolder,
  findChartTools,
  REQUIRED_VALUES,
  runHelm,
  withValueAt,
} from "../support/charts.ts";
import { createDirectWorld, type DirectWorld } from "../support/direct-proxy.ts";
import { NO_END } from "../support/stack.ts";

const NAMESPACE = "restricted";
const RELEASE = "connect";
type Values = Readonly<Record<string, unknown>>;

let world: DirectWorld;
let tools: Tools;
let version = "";
beforeAll(async () => {
  [world, tools] = await Promise.all([createDirectWorld(), findChartTools()]);
  version = JSON.parse(await world.kubectl(["get", "--raw", "/version"])).gitVersion;
  await world.kubectl(["create", "namespace", NAMESPACE]);
  const standard = ["enforce", "warn"].map((mode) => `pod-security.kubernetes.io/${mode}=restricted`);
  await world.kubectl(["label", "namespace", NAMESPACE, ...standard]);
});
afterAll(() => world?.[Symbol.asyncDispose]());

const inCluster = (program: string, args: readonly string[], input?: string): Promise<RunResult> => {
  const env = { PATH: tools.path, HOME: world.folder, KUBECONFIG: world.cluster.kubeconfigPath };
  return runToEnd(program, args, { env, signal: NO_END, ...(input === undefined ? {} : { input }) });
};

const withValues = (name: ChartName, more: Values): Values =>
  Object.entries(more).reduce((values, [path, value]) => withValueAt(values, path, value), REQUIRED_VALUES[name]);

const EVERYTHING_ELSE: Values = {
  priorityClassName: "system-cluster-critical",
  nodeSelector: { "kubernetes.io/os": "linux" },
  tolerations: [{ key: "infra", operator: "Exists" }],
  podAnnotations: { a: "b" },
  "serviceAccount.annotations": { a: "b" },
  affinity: {
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: [{ matchExpressions: [{ key: "kubernetes.io/os", operator: "In", values: ["linux"] }] }],
      },
    },
  },
  "networkPolicy.enabled": true,
};
const VARIANTS: readonly (readonly [string, ChartName, Values])[] = [
  ["an agent", "cluster-connect-agent", {}],
  [
    "an agent alone",
    "cluster-connect-agent",
    { replicas: 1, "rotation.enabled": false, "networkPolicy.enabled": false },
  ],
  ["an agent by the legacy role", "cluster-connect-agent", { "rbac.mode": "legacy", "authProxy.allowAs": true }],
  [
    "an agent with everything",
    "cluster-connect-agent",
    {
      ...EVERYTHING_ELSE,
      "global.httpsProxy": "http://proxy.example:3128",
      "global.proxyCert": "PEM",
      "relay.ca": "PEM",
      "relay.urls": ["https://[fd00::1]:8443"],
      "authProxy.allowAs": true,
      "authProxy.tokenReview.enabled": true,
      "image.pullSecrets": [{ name: "pull" }],
      "rbac.users": ["oidc:alice"],
      hostAliases: [{ ip: "10.0.0.1", hostnames: ["relay.example.com"] }],
      podLabels: { team: "a" },
      "networkPolicy.metricsFrom": ["monitoring"],
      "test.existingSecret": "tokens",
      "health.host": "::",
    },
  ],
  ["two relays", "cluster-connect-relay", {}],
  [
    "a relay alone",
    "cluster-connect-relay",
    { replicas: 1, "persistence.enabled": true, "store.postgres.existingSecret": "", "peers.existingSecret": "" },
  ],
  [
    "relays with everything",
    "cluster-connect-relay",
    {
      ...EVERYTHING_ELSE,
      "autoscaling.enabled": true,
      "ingress.enabled": true,
      "ingress.host": "relay.example.com",
      "ingress.className": "nginx",
      "ingress.tlsSecret": "tls",
      "tls.existingSecret": "relay-tls",
      grantsConfigMap: "grants",
      "service.type": "LoadBalancer",
      "service.externalTrafficPolicy": "Local",
      imagePullSecrets: [{ name: "pull" }],
      extraEnv: [{ name: "NODE_USE_ENV_PROXY", value: "1" }],
      extraVolumes: [{ name: "webhook", secret: { secretName: "webhook" } }],
      extraVolumeMounts: [{ name: "webhook", mountPath: "/etc/webhook", readOnly: true }],
    },
  ],
];

interface Kept {
  readonly kind: string;
  readonly metadata: { readonly name: string };
}

/** Paths of what a chart says and the kube-apiserver keeps otherwise: tools that compare both find a change for ever. */
function drift(said: unknown, kept: unknown, path: string): readonly string[] {
  if (said === kept) return [];
  if (typeof said !== "object" || said === null || typeof kept !== "object" || kept === null) return [path];
  return Object.entries(said).flatMap(([key, value]) =>
    // Text in stringData is read from data.
    key === "stringData" ? [] : drift(value, Object.getOwnPropertyDescriptor(kept, key)?.value, `${path}.${key}`),
  );
}

describe("the kube-apiserver takes every object as it is, where pods are to be restricted, and warns of nothing", () => {
  test.each(VARIANTS)("%s", async (_what, name, more) => {
    const args = ["template", RELEASE, chartFolder(name), "--namespace", NAMESPACE, "--kube-version", version];
    const rendered = await runHelm(tools, args, withValues(name, more));
    expect(rendered).toMatchObject({ code: 0, stderr: "" });
    const apply = ["apply", "--dry-run=server", "--validate=strict", "--namespace", NAMESPACE, "-f", "-", "-o", "json"];
    const applied = await inCluster(tools.kubectl, apply, rendered.stdout);
    expect(applied).toMatchObject({ code: 0, stderr: "" });
    const kept: readonly Kept[] = JSON.parse(applied.stdout).items;
    const said = parseAllDocuments(rendered.stdout).map((document): Kept => document.toJS());
    expect(kept).toHaveLength(said.length);
    const drifted = said.flatMap((object, index) =>
      drift(object, kept[index], `${object.kind}/${object.metadata.name}`),
    );
    expect(drifted).toEqual([]);
  });
});

/** An object as Argo CD applies it: with its application's name in label and annotation. */
function tracked(text: string): string {
  const items = parseAllDocuments(text).map((document) => {
    const object = document.toJS();
    const { kind, metadata } = object;
    const id = `shop:${kind}:${metadata.namespace ?? ""}/${metadata.name}`;
    const labels = { ...metadata.labels, "app.kubernetes.io/instance": "shop" };
    const annotations = { ...metadata.annotations, "argocd.argoproj.io/tracking-id": id };
    return { ...object, metadata: { ...metadata, labels, annotations } };
  });
  return JSON.stringify({ apiVersion: "v1", kind: "List", items });
}

const APPLIERS: readonly (readonly [string, readonly string[], (text: string) => string])[] = [
  ["kubectl", [], (text) => text],
  ["Argo CD's way, on the server", ["--server-side", "--field-manager=argocd-controller"], tracked],
  ["Flux' way, on the server", ["--server-side", "--field-manager=kustomize-controller"], (text) => text],
];

describe.each(APPLIERS)("once everything has run nothing differs from what was applied by %s", (_whom, flags, as) => {
  test.each(VARIANTS.filter(([what]) => /alone|everything/.test(what)))("%s", async (_what, name, more) => {
    const args = ["template", RELEASE, chartFolder(name), "--namespace", NAMESPACE, "--kube-version", version];
    const own: Values = name === "cluster-connect-agent" ? { "enrollment.ttlSecondsAfterFinished": null } : {};
    const render = async (): Promise<string> =>
      as((await runHelm(tools, [...args, "--no-hooks"], withValues(name, { ...more, ...own }))).stdout);
    onTestFinished(async () => {
      await world.kubectl(["delete", "--ignore-not-found", "-f", "-"], await render());
      await world.kubectl(["delete", "persistentvolumeclaims,jobs,pods", "--all", "-n", NAMESPACE, "--wait=false"]);
    });
    const applied = await inCluster(tools.kubectl, ["apply", ...flags, "-f", "-"], await render());
    expect(applied).toMatchObject({ code: 0, stderr: "" });
    await haveRun();
    const differs = await inCluster(tools.kubectl, ["diff", ...flags, "-f", "-"], await render());
    expect(differs).toMatchObject({ code: 0, stdout: "" });
  });
});

/** The chart's programs write what they write, and Kubernetes' controllers have seen every object. */
async function haveRun(): Promise<void> {
  const at = ["-n", NAMESPACE];
  const named = async (kind: string): Promise<readonly string[]> =>
    (await world.kubectl(["get", kind, ...at, "-o", "name"])).split("\n").filter(Boolean);
  for (const secret of await named("secrets")) {
    if (!secret.endsWith("-identity")) continue;
    const data = { "agent-key.pem": "a2V5", "enrollment.json": "e30=" };
    const keeper = `--as=system:serviceaccount:${NAMESPACE}:${RELEASE}-keeper`;
    await world.kubectl(["patch", secret, ...at, "--type=merge", "-p", JSON.stringify({ data }), keeper]);
  }
  for (const autoscaler of await named("horizontalpodautoscalers")) {
    // As the controller does once it has measured.
    const target = await world.kubectl(["get", autoscaler, ...at, "-o", "jsonpath={.spec.scaleTargetRef.name}"]);
    await world.kubectl(["scale", `statefulset/${target}`, ...at, "--replicas=4"]);
  }
  for (const job of await named("cronjobs")) {
    await world.kubectl(["create", "job", ...at, "by-hand", `--from=${job}`]);
  }
  for (const owner of await named("deployments,statefulsets")) {
    await world.kubectl(["wait", owner, ...at, "--for=jsonpath={.status.observedGeneration}", "--timeout=120s"]);
  }
  for (const job of await named("jobs")) {
    await world.kubectl(["wait", job, ...at, "--for=jsonpath={.status.startTime}", "--timeout=120s"]);
  }
}

describe.each<readonly [ChartName, Values]>([
  ["cluster-connect-agent", { replicas: 3, "agent.drainSeconds": 60, "enrollment.code": "another", "image.tag": "2" }],
  ["cluster-connect-relay", { replicas: 3, drainSeconds: 90, "image.tag": "2", "networkPolicy.enabled": true }],
])("a release of %s", (name, later) => {
  const helm = (args: readonly string[], values?: Values): Promise<RunResult> =>
    inCluster(
      tools.helm,
      [...args, "--namespace", NAMESPACE, ...(values === undefined ? [] : ["--values", "-"])],
      values === undefined ? undefined : JSON.stringify(values),
    );
  const ours = ["--all-namespaces", "--selector", `app.kubernetes.io/instance=${RELEASE}`, "-o", "name"];
  const KINDS = [
    ...["deployments", "statefulsets", "jobs", "cronjobs", "services", "configmaps", "secrets", "serviceaccounts"],
    ...["roles", "rolebindings", "clusterroles", "clusterrolebindings", "networkpolicies", "poddisruptionbudgets"],
  ].join();

  test("is installed, changed, taken back and removed, and nothing of it is left", async () => {
    const chart = chartFolder(name);
    expect(await helm(["install", RELEASE, chart], withValues(name, {}))).toMatchObject({ code: 0 });
    expect((await world.kubectl(["get", KINDS, ...ours])).trim().split("\n").length).toBeGreaterThan(5);
    expect(await helm(["upgrade", RELEASE, chart], withValues(name, later))).toMatchObject({ code: 0 });
    expect(await helm(["rollback", RELEASE, "1"])).toMatchObject({ code: 0 });
    expect(await helm(["uninstall", RELEASE])).toMatchObject({ code: 0 });
    await world.kubectl(["wait", "--for=delete", KINDS, ...ours.slice(0, 3), "--timeout=180s"]);
    expect(await world.kubectl(["get", KINDS, ...ours])).toBe("");
  });
});

test("what the enrollment wrote stays, through an upgrade and for whoever applies what helm renders", async () => {
  const chart = chartFolder("cluster-connect-agent");
  const secret = ["secret", `${RELEASE}-identity`, "-n", NAMESPACE];
  const render = async (more: Values): Promise<string> => {
    const args = ["template", RELEASE, chart, "--namespace", NAMESPACE, "--kube-version", version];
    return (await runHelm(tools, args, withValues("cluster-connect-agent", more))).stdout;
  };
  await world.kubectl(["apply", "-f", "-"], await render({}));
  const patch = JSON.stringify({ data: { "agent-key.pem": "a2V5" } });
  await world.kubectl([
    "patch",
    ...secret,
    "--type=merge",
    "-p",
    patch,
    `--as=system:serviceaccount:${NAMESPACE}:${RELEASE}-keeper`,
  ]);
  await world.kubectl(["apply", "-f", "-"], await render({ replicas: 3 }));
  expect(await world.kubectl(["get", ...secret, "-o", "jsonpath={.data}"])).toBe('{"agent-key.pem":"a2V5"}');
  // The same values make the same text each time.
  expect(await render({ replicas: 3 })).toBe(await render({ replicas: 3 }));
  await world.kubectl(["delete", "-f", "-"], await render({ replicas: 3 }));
});

describe("the auth proxy serves by the chart's own role and settings", () => {
  test.each<readonly [string, Values]>([
    ["anybody, constrained", {}],
    ["anybody, legacy", { "rbac.mode": "legacy" }],
    ["some, constrained", { "rbac.users": ["demo:alice"], "rbac.groups": ["demo:dev", "demo:ops"] }],
    ["some, legacy", { "rbac.mode": "legacy", "rbac.users": ["demo:alice"], "rbac.groups": ["demo:dev"] }],
    ["with --as and ServiceAccounts", { "authProxy.allowAs": true, "authProxy.tokenReview.enabled": true }],
    ["extras of an issuer", { "authProxy.extraKeys": ["example.com/team"] }],
  ])("for %s", async (_whom, more) => {
    const args = ["template", RELEASE, chartFolder("cluster-connect-agent"), "--namespace", NAMESPACE];
    const rendered = await runHelm(
      tools,
      [...args, "--kube-version", version],
      withValues("cluster-connect-agent", more),
    );
    await world.kubectl(["apply", "-f", "-"], rendered.stdout);
    const token = await world.kubectl(["create", "token", RELEASE, "-n", NAMESPACE]);
    const tokenFile = join(world.folder, "chart-token");
    await writeFile(tokenFile, token.trim(), { mode: 0o600 });
    const path = "jsonpath={.data.auth-proxy\\.yaml}";
    const settings = parse(await world.kubectl(["get", "configmap", RELEASE, "-n", NAMESPACE, "-o", path]));
    const { impersonation, tokenReview } = settings;
    const upstream = { url: world.cluster.apiserverUrl, caFile: join(world.folder, "apiserver-ca.crt"), tokenFile };
    {
      await using proxy = await world.start({ impersonation, tokenReview, upstream });
      const who = await world.kubectlAt(proxy, await world.token("alice", ["dev"]), ["auth", "whoami"]);
      expect(who).toMatchObject({ code: 0, stdout: expect.stringContaining("demo:alice") });
    }
    await world.kubectl(["delete", "-f", "-"], rendered.stdout);
  });
});
