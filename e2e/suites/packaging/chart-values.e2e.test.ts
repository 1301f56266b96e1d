import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import type { Tools } from "../../src/cluster/binaries/tools.ts";
import {
  type ChartName,
  chartFolder,
  findChartTools,
  REQUIRED_VALUES,
  runHelm,
  withValueAt,
} from "../support/charts.ts";

/** Another value for each one of a chart, and what has to be set beside it. */
interface Other {
  readonly to: unknown;
  readonly beside?: Readonly<Record<string, unknown>>;
}

const RESOURCES: Other = { to: { limits: { memory: "1Gi" } } };
const TOLERATIONS: Other = { to: [{ key: "infra", operator: "Exists" }] };
const AFFINITY: Other = { to: { nodeAffinity: {} } };
const LABELS: Other = { to: { release: "prometheus" } };
const SWITCHES = {
  sealed: { "audit.seal.existingSecret": "relay-seal" },
  tokenReview: { "authProxy.tokenReview.enabled": true },
  test: { "test.existingSecret": "tokens" },
  monitor: { "serviceMonitor.enabled": true },
  relayMonitor: { "metrics.serviceMonitor": true },
  ingress: { "ingress.enabled": true, "ingress.host": "relay.example.com" },
  scaling: { "autoscaling.enabled": true },
  one: { replicas: 1, "store.postgres.existingSecret": "", "peers.existingSecret": "", "persistence.enabled": true },
  balancer: { "service.type": "LoadBalancer" },
} as const;

const AGENT: Readonly<Record<string, Other>> = {
  "global.resourceName": { to: "staging" },
  "global.httpsProxy": { to: "http://proxy.example:3128" },
  "global.httpProxy": { to: "http://user:word@proxy.example:3128/" },
  "global.noProxy": { to: ".internal", beside: { "global.httpsProxy": "http://proxy.example:3128" } },
  "global.proxyCert": { to: "PEM" },
  "global.imageRegistry": { to: "registry.example.com/mirror/" },
  "relay.url": { to: "https://other.example.com:8443" },
  "relay.urls": { to: ["https://second.example.com"] },
  "relay.ca": { to: "PEM" },
  "enrollment.code": { to: "another" },
  "enrollment.existingSecret": { to: "given", beside: { "enrollment.code": "" } },
  "enrollment.deadlineSeconds": { to: 60 },
  "enrollment.ttlSecondsAfterFinished": { to: 60 },
  "authentication.jwt": { to: [], beside: SWITCHES.tokenReview },
  replicas: { to: 3 },
  "image.agent": { to: "mine/agent" },
  "image.authProxy": { to: "mine/auth-proxy" },
  "image.tag": { to: "1.2.3" },
  "image.pullPolicy": { to: "Always" },
  "image.pullSecrets": { to: [{ name: "pull" }] },
  "agent.drainSeconds": { to: 31 },
  "agent.resumeGraceSeconds": { to: 61 },
  "agent.limits.streams": { to: 7 },
  "agent.limits.bufferMebibytes": { to: 7 },
  "agent.limits.suspendedMebibytes": { to: 7 },
  "agent.logLevel": { to: "debug" },
  "agent.resources": RESOURCES,
  "authProxy.logLevel": { to: "debug" },
  "authProxy.tokenSeconds": { to: 601 },
  "authProxy.allowAs": { to: true },
  "authProxy.extraKeys": { to: ["example.com/team"] },
  "authProxy.tokenReview.enabled": { to: true },
  "authProxy.tokenReview.audiences": { to: ["cluster-connect"] },
  "authProxy.http2": { to: true },
  "authProxy.issuers": { to: { "https://login.example.com": { groups: ["team-*"] } } },
  "authProxy.longStreams.onExpiry": { to: "runToMaximum" },
  "authProxy.longStreams.maximumSeconds": { to: 60 },
  "authProxy.limits.requests": { to: 7 },
  "authProxy.limits.requestsPerCaller": { to: 7 },
  "authProxy.limits.longRequests": { to: 7 },
  "authProxy.limits.longRequestsPerCaller": { to: 7 },
  "authProxy.limits.upgrades": { to: 7 },
  "authProxy.limits.upgradesPerCaller": { to: 7 },
  "authProxy.limits.streams": { to: 7 },
  "authProxy.limits.handshakes": { to: 7 },
  "authProxy.toleratedPrivileges": { to: ["list projects.project.openshift.io"] },
  "authProxy.certificate.caSeconds": { to: 86_400 },
  "authProxy.certificate.servingSeconds": { to: 3_600 },
  "authProxy.resources": RESOURCES,
  "health.host": { to: "::" },
  "tracing.endpoint": { to: "http://otel.monitoring:4318" },
  "test.existingSecret": { to: "tokens" },
  "test.image": { to: "mine/cli", beside: SWITCHES.test },
  "rotation.enabled": { to: false },
  "rotation.schedule": { to: "@daily" },
  "rbac.mode": { to: "legacy" },
  "rbac.users": { to: ["oidc:alice"] },
  "rbac.groups": { to: ["oidc:dev"] },
  "serviceAccount.annotations": { to: { a: "b" } },
  podAnnotations: { to: { a: "b" } },
  podLabels: { to: { a: "b" } },
  nodeSelector: { to: { "kubernetes.io/os": "linux" } },
  tolerations: TOLERATIONS,
  affinity: AFFINITY,
  priorityClassName: { to: "system-cluster-critical" },
  hostAliases: { to: [{ ip: "10.0.0.1", hostnames: ["relay.example.com"] }] },
  "podDisruptionBudget.enabled": { to: false },
  "podDisruptionBudget.minAvailable": { to: "50%" },
  "networkPolicy.enabled": { to: false },
  "networkPolicy.egressPorts": { to: [16_443] },
  "networkPolicy.metricsFrom": { to: ["monitoring"] },
  "serviceMonitor.enabled": { to: true },
  "serviceMonitor.interval": { to: "1m", beside: SWITCHES.monitor },
  "serviceMonitor.labels": { ...LABELS, beside: SWITCHES.monitor },
};

const RELAY: Readonly<Record<string, Other>> = {
  "global.imageRegistry": { to: "registry.example.com/mirror" },
  publicUrl: { to: "https://other.example.com:8443" },
  "image.repository": { to: "mine/relay" },
  "image.tag": { to: "1.2.3" },
  "image.pullPolicy": { to: "Always" },
  imagePullSecrets: { to: [{ name: "pull" }] },
  replicas: { to: 3 },
  listenHost: { to: "::" },
  "store.postgres.existingSecret": { to: "other-db" },
  "store.postgres.key": { to: "uri" },
  "persistence.enabled": { to: true, beside: { replicas: 1 } },
  "persistence.size": { to: "2Gi", beside: SWITCHES.one },
  "persistence.storageClassName": { to: "fast", beside: SWITCHES.one },
  "peers.existingSecret": { to: "other-peers" },
  "peers.port": { to: 9_444 },
  "tls.existingSecret": { to: "relay-tls" },
  "audit.seal.existingSecret": { to: "relay-seal" },
  "audit.seal.key": { to: "now", beside: SWITCHES.sealed },
  "audit.seal.formerKeys": { to: ["before"], beside: SWITCHES.sealed },
  "audit.seal.intervalMinutes": { to: 30, beside: SWITCHES.sealed },
  trustedProxies: { to: ["10.0.0.0/8"] },
  authentication: { to: { kind: "AuthenticationConfiguration" } },
  grants: { to: [{ clusters: ["*"], groups: ["oidc:dev"] }] },
  admins: { to: [{ groups: ["oidc:admins"] }] },
  grantsConfigMap: { to: "relay-grants" },
  login: { to: { issuer: "https://login.example.com" } },
  config: { to: { log: { level: "debug" } } },
  extraEnv: { to: [{ name: "NODE_USE_ENV_PROXY", value: "1" }] },
  extraVolumes: { to: [{ name: "webhook", secret: { secretName: "webhook" } }] },
  extraVolumeMounts: { to: [{ name: "webhook", mountPath: "/etc/webhook" }] },
  drainSeconds: { to: 61 },
  "service.type": { to: "LoadBalancer" },
  "service.externalTrafficPolicy": { to: "Local", beside: SWITCHES.balancer },
  "service.port": { to: 8_443 },
  "service.nodePort": { to: 30_443, beside: { "service.type": "NodePort" } },
  "service.annotations": { to: { a: "b" } },
  "ingress.enabled": { to: true, beside: { "ingress.host": "relay.example.com" } },
  "ingress.className": { to: "nginx", beside: SWITCHES.ingress },
  "ingress.annotations": { to: { a: "b" }, beside: SWITCHES.ingress },
  "ingress.host": { to: "other.example.com", beside: SWITCHES.ingress },
  "ingress.tlsSecret": { to: "ingress-tls", beside: SWITCHES.ingress },
  "metrics.port": { to: 9_091 },
  "metrics.serviceMonitor": { to: true },
  "metrics.serviceMonitorLabels": { ...LABELS, beside: SWITCHES.relayMonitor },
  "autoscaling.enabled": { to: true },
  "autoscaling.minReplicas": { to: 3, beside: SWITCHES.scaling },
  "autoscaling.maxReplicas": { to: 7, beside: SWITCHES.scaling },
  "autoscaling.targetCpu": { to: 61, beside: SWITCHES.scaling },
  "podDisruptionBudget.enabled": { to: false },
  "podDisruptionBudget.maxUnavailable": { to: "50%" },
  "networkPolicy.enabled": { to: true },
  resources: RESOURCES,
  priorityClassName: { to: "system-cluster-critical" },
  nodeSelector: { to: { "kubernetes.io/os": "linux" } },
  tolerations: TOLERATIONS,
  affinity: AFFINITY,
  podAnnotations: { to: { a: "b" } },
  "serviceAccount.annotations": { to: { a: "b" } },
};

const CHARTS: readonly (readonly [ChartName, Readonly<Record<string, Other>>])[] = [
  ["cluster-connect-agent", AGENT],
  ["cluster-connect-relay", RELAY],
];

interface Property {
  readonly description?: string | undefined;
  readonly properties?: Readonly<Record<string, Property>> | undefined;
}
const PROPERTY: z.ZodType<Property> = z.looseObject({
  description: z.string().min(1).optional(),
  properties: z
    .record(
      z.string(),
      z.lazy(() => PROPERTY),
    )
    .optional(),
});

/** Each value of a schema by its path; an object with fixed names is a folder, not a value. */
function valuesOf(schema: Property, path = ""): readonly (readonly [string, Property])[] {
  return Object.entries(schema.properties ?? {}).flatMap(([key, property]) => {
    const own = `${path}${key}`;
    return property.properties === undefined ? [[own, property] as const] : valuesOf(property, `${own}.`);
  });
}

/** Every object and value of a schema. */
function describedIn(schema: Property, path = ""): readonly (readonly [string, Property])[] {
  return Object.entries(schema.properties ?? {}).flatMap(([key, property]) => [
    [`${path}${key}`, property] as const,
    ...describedIn(property, `${path}${key}.`),
  ]);
}

function hasAt(values: unknown, path: string): boolean {
  const [key = "", ...rest] = path.split(".");
  if (typeof values !== "object" || values === null || !Object.hasOwn(values, key)) return false;
  return rest.length === 0 || hasAt(Object.entries(values).find(([name]) => name === key)?.[1], rest.join("."));
}

/** Values that are left out of values.yaml: what they default to is the program's. */
const LIMITS = [
  "requests",
  "requestsPerCaller",
  "longRequests",
  "longRequestsPerCaller",
  "upgrades",
  "upgradesPerCaller",
  "streams",
  "handshakes",
];
const LEFT_OUT = [
  "authProxy.longStreams.maximumSeconds",
  ...LIMITS.map((name) => `authProxy.limits.${name}`),
  ...["streams", "bufferMebibytes", "suspendedMebibytes"].map((name) => `agent.limits.${name}`),
  "global",
];

let tools: Tools;
beforeAll(async () => {
  tools = await findChartTools();
});

describe.each(CHARTS)("the values of %s", (name, others) => {
  const chart = chartFolder(name);
  const required = REQUIRED_VALUES[name];
  let schema: Property;
  let defaults: unknown;
  beforeAll(async () => {
    schema = PROPERTY.parse(JSON.parse(await readFile(join(chart, "values.schema.json"), "utf8")));
    defaults = parse(await readFile(join(chart, "values.yaml"), "utf8"));
  });

  const render = async (given: Readonly<Record<string, unknown>>): Promise<string> => {
    const done = await runHelm(tools, ["template", "connect", chart, "--kube-version", "1.36.0"], given);
    expect(done).toMatchObject({ code: 0, stderr: "" });
    return done.stdout;
  };

  test("are all in values.yaml and in the schema, each with a description", () => {
    const paths = valuesOf(schema).map(([path]) => path);
    expect(paths.filter((path) => !LEFT_OUT.includes(path) && !hasAt(defaults, path))).toEqual([]);
    const undescribed = describedIn(schema).filter(([, { description }]) => description === undefined);
    expect(undescribed.map(([path]) => path)).toEqual([]);
    expect(paths.filter((path) => path !== "global").toSorted()).toEqual(Object.keys(others).toSorted());
  });

  test("are taken as values.yaml has them", async () => {
    expect(await render(required)).toContain("kind: ServiceAccount");
  });

  test.each(Object.entries(others))("%s has an effect", async (path, { to, beside = {} }) => {
    const around = Object.entries(beside).reduce((values, [at, value]) => withValueAt(values, at, value), required);
    expect(await render(withValueAt(around, path, to))).not.toBe(await render(around));
  });
});

test.each<readonly [ChartName, string, unknown, string]>([
  ["cluster-connect-agent", "agent.logLevel", "loud", "/agent/logLevel"],
  ["cluster-connect-agent", "agent.drainSeconds", 4_000, "/agent/drainSeconds"],
  ["cluster-connect-agent", "agent.drainSecond", 4, "drainSecond"],
  ["cluster-connect-agent", "authProxy.longStreams.onexpiry", "end", "onexpiry"],
  ["cluster-connect-agent", "authProxy.issuers", { "https://a.example": { group: ["a"] } }, "group"],
  ["cluster-connect-agent", "global.httpsProxy", "proxy.example:3128", "/global/httpsProxy"],
  ["cluster-connect-agent", "relay.urls", [""], "/relay/urls/0"],
  ["cluster-connect-agent", "relay.url", "https://relay.example.com/path", "/relay/url"],
  ["cluster-connect-agent", "rotation.schedule", "weekly", "/rotation/schedule"],
  ["cluster-connect-agent", "enrollment.ttlSecondsAfterFinished", -1, "/enrollment/ttlSecondsAfterFinished"],
  ["cluster-connect-agent", "enrollment.ttlSecondsAfterFinished", 2 ** 31, "/enrollment/ttlSecondsAfterFinished"],
  ["cluster-connect-agent", "networkPolicy.egressPorts", [99_999], "/networkPolicy/egressPorts/0"],
  ["cluster-connect-agent", "podLabels", { a: 1 }, "/podLabels/a"],
  ["cluster-connect-agent", "image.pullSecrets", ["pull"], "/image/pullSecrets/0"],
  ["cluster-connect-agent", "podDisruptionBudget.minAvailable", "one", "/podDisruptionBudget/minAvailable"],
  ["cluster-connect-agent", "podDisruptionBudget.minAvailable", 2, "lets no pod be evicted"],
  ["cluster-connect-agent", "podDisruptionBudget.minAvailable", "100%", "lets no pod be evicted"],
  ["cluster-connect-relay", "publicUrl", "https://relay.example.com/path", "/publicUrl"],
  ["cluster-connect-relay", "service.externalTrafficPolicy", "local", "/service/externalTrafficPolicy"],
  ["cluster-connect-relay", "service.externalTrafficPolicy", "Local", "is for service.type LoadBalancer"],
  ["cluster-connect-relay", "autoscaling", { enabled: true, minReplicas: 9 }, "minReplicas is more than"],
  ["cluster-connect-relay", "extraVolumes", [{ secret: {} }], "/extraVolumes/0"],
  ["cluster-connect-relay", "metrics.interval", "30s", "interval"],
])("%s refuses %s %j", async (name, path, value, said) => {
  const values = withValueAt(REQUIRED_VALUES[name], path, value);
  const done = await runHelm(tools, ["template", "connect", chartFolder(name)], values);
  expect(done.code).toBe(1);
  expect(done.stderr).toContain(said);
});
