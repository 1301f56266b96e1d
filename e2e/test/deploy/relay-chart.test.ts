import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { findTools } from "../../src/cluster/binaries/tools.ts";
import type { Progress } from "../../src/process/progress.ts";
import { repositoryFile } from "../../src/stack/repository-file.ts";
import { type PodOf, RESTRICTED_V2 } from "../../suites/support/restricted-v2.ts";

const CHART = join(import.meta.dirname, "../../../deploy/charts/cluster-connect-relay");
const exec = promisify(execFile);

const AUTHENTICATION = `
authentication:
  apiVersion: apiserver.config.k8s.io/v1
  kind: AuthenticationConfiguration
  jwt:
    - issuer: { url: https://login.example.com, audiences: [https://relay.example.com] }
      claimMappings: { username: { claim: sub, prefix: "oidc:" } }
`;
const SEVERAL = `
publicUrl: https://relay.example.com
store: { postgres: { existingSecret: relay-db } }
peers: { existingSecret: relay-peers }
tls: { existingSecret: relay-tls }
grantsConfigMap: relay-grants
trustedProxies: [10.0.0.0/8]
admins: [{ groups: [oidc:platform-admins] }]
config: { limits: { sessionsPerCaller: 20 }, audit: { whenFull: drop } }
audit: { seal: { existingSecret: relay-seal, key: now, formerKeys: [before] } }
autoscaling: { enabled: true }
networkPolicy: { enabled: true }
metrics: { serviceMonitor: true }
ingress: { enabled: true, host: relay.example.com, className: nginx }
${AUTHENTICATION}`;
const ONE = `
publicUrl: https://relay.example.com
replicas: 1
persistence: { enabled: true }
grants: [{ clusters: ["*"], groups: [oidc:dev] }]
${AUTHENTICATION}`;

async function helm(command: "lint" | "template", values: string, more: readonly string[] = []): Promise<string> {
  const progress: Progress = { line: () => undefined, during: (_text, work) => work() };
  const tools = await findTools(
    { signal: AbortSignal.timeout(60_000) },
    { env: process.env, platform: process.platform, arch: process.arch, progress },
  );
  const file = join(await temporaryFolder(), "values.yaml");
  await writeFile(file, values);
  const name = command === "template" ? ["relay"] : [];
  const { stdout } = await exec(tools.helm, [command, ...name, CHART, "--namespace", "cc", "-f", file, ...more]);
  return stdout;
}

test.each([
  ["several", SEVERAL],
  ["one", ONE],
])("the relay's chart passes lint and renders %s relays as before", async (name, values) => {
  expect(await helm("lint", values)).toContain("0 chart(s) failed");
  await expect(await helm("template", values)).toMatchFileSnapshot(`__snapshots__/relay-chart-${name}.yaml`);
});

test("the alerts find the relays by the job that the ServiceMonitor gives them", async () => {
  const objects = parseAllDocuments(await helm("template", SEVERAL)).map((document) => document.toJS());
  const { spec } = objects.find(({ kind }) => kind === "ServiceMonitor");
  const scraped = objects.filter(
    ({ kind, spec: { ports = [] } = {} }) =>
      kind === "Service" && ports.some(({ name }: { name: string }) => name === "metrics"),
  );
  const rules = await readFile(repositoryFile("deploy/relay/prometheus-rules.yaml"), "utf8");
  const [, job] = /up{job="([^"]*)"}/.exec(rules) ?? [];
  expect(scraped.map(({ metadata }) => metadata.labels[spec.jobLabel])).toEqual([job]);
});

test.each([
  ["several", SEVERAL],
  ["one", ONE],
])("OpenShift's restricted-v2 takes the pods of %s relays", async (_name, values) => {
  const objects = parseAllDocuments(await helm("template", values, ["--api-versions", "security.openshift.io/v1"]));
  const pods = objects
    .map((document) => document.toJS())
    .filter(({ kind }) => kind === "StatefulSet" || kind === "Pod")
    .map(({ kind, spec }): PodOf => ({ name: kind, spec: kind === "Pod" ? spec : spec.template.spec }));
  expect(pods).toHaveLength(2);
  for (const [rule, keeps] of Object.entries(RESTRICTED_V2)) {
    expect(pods.filter((pod) => !keeps(pod)).map(({ name }) => `${name}: ${rule}`)).toEqual([]);
  }
});

test.each([
  [
    "nothing",
    "",
    /publicUrl is required[\s\S]*authentication is required[\s\S]*store\.postgres[\s\S]*peers\.existingSecret/,
  ],
  ["one relay without a store", `replicas: 1\npublicUrl: https://r\n${AUTHENTICATION}`, /one relay needs/],
  ["a misspelt value", `${ONE}\nreplica: 3\n`, /replica/],
])("values with %s are refused with every problem", async (_name, values, message) => {
  await expect(helm("template", values)).rejects.toThrow(message);
});
