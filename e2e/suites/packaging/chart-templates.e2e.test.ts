import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import { beforeAll, describe, expect, test } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { type RunResult, runToEnd } from "../../src/process/run-to-end.ts";
import { repositoryFile } from "../../src/stack/repository-file.ts";
import { chartFolder, findChartTools, REQUIRED_VALUES, runHelm } from "../support/charts.ts";
import { type PodOf, RESTRICTED_V2 } from "../support/restricted-v2.ts";
import { NO_END } from "../support/stack.ts";

const CHART = repositoryFile("deploy/charts/cluster-connect-agent");
const CONSTRAINED = ["--kube-version", "1.36.0"];
const LEGACY = ["--kube-version", "1.35.0"];
const REQUIRED = ["--set", "global.resourceName=prod", "--set", "relay.url=https://relay.example.com"];
const ISSUER = [
  ...["--set", "authentication.jwt[0].issuer.url=https://login.example.com"],
  ...["--set", "authentication.jwt[0].issuer.audiences={cluster}"],
  ...["--set", "authentication.jwt[0].claimMappings.username.claim=sub"],
  ...["--set", "authentication.jwt[0].claimMappings.username.prefix=oidc:"],
];
const CODE = ["--set", "enrollment.code=one-time"];
const BASE = [...REQUIRED, ...ISSUER, ...CODE];

let helmPath = "";
let path = "";
beforeAll(async () => {
  const tools = await findChartTools();
  helmPath = tools.helm;
  path = tools.path;
});

const helm = (...args: readonly string[]): Promise<RunResult> =>
  runToEnd(helmPath, args, { env: { PATH: path, HOME: "/nonexistent" }, signal: NO_END });

async function render(...args: readonly string[]): Promise<string> {
  const done = await helm("template", "connect", CHART, "--namespace", "cluster-connect", ...args);
  expect(done).toMatchObject({ code: 0, stderr: "" });
  return done.stdout;
}

interface Rendered {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels: Readonly<Record<string, string>> };
  readonly [field: string]: unknown;
}

const objects = (text: string): readonly Rendered[] =>
  parseAllDocuments(text).flatMap((document) => (document.toJS() === null ? [] : [document.toJS()]));

const VARIANTS: Readonly<Record<string, readonly string[]>> = {
  constrained: [...CONSTRAINED, ...BASE],
  legacy: [...LEGACY, ...BASE],
  limited: [...CONSTRAINED, ...BASE, "--set", "rbac.users={alice}", "--set", "rbac.groups={dev,ops}"],
  "proxy-and-ca": [
    ...[...CONSTRAINED, ...BASE, "--set", "global.httpsProxy=http://proxy.example:3128"],
    ...[
      "--set",
      "global.noProxy=.internal",
      "--set-string",
      "global.proxyCert=PROXY-PEM",
      "--set-string",
      "relay.ca=PEM",
    ],
  ],
  openshift: [...LEGACY, ...BASE, "--api-versions", "security.openshift.io/v1"],
  accounts: [
    ...[...CONSTRAINED, ...REQUIRED, "--set", "enrollment.existingSecret=given", "--set", "replicas=1"],
    ...["--set", "authProxy.tokenReview.enabled=true", "--set", "authProxy.allowAs=true"],
    ...["--set", "serviceMonitor.enabled=true", "--set", "networkPolicy.metricsFrom={monitoring}"],
    ...["--set", "test.existingSecret=tokens", "--set", "priorityClassName=system-cluster-critical"],
  ],
};

test.each(Object.entries(VARIANTS))("the chart's objects are those of before: %s", async (name, args) => {
  await expect(await render(...args)).toMatchFileSnapshot(join("__snapshots__", `chart-${name}.yaml`));
});

interface JobContainer {
  readonly name: string;
  readonly args: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string; readonly readOnly?: boolean }[];
}

test.each([
  ["Job", "enroll"],
  ["CronJob", "rotate"],
])("a container of the %s that has no need of a key does not see it", async (kind, identify) => {
  const job = objects(await render(...CONSTRAINED, ...BASE)).find((object) => object.kind === kind);
  const text = JSON.stringify(job);
  const { spec } = JSON.parse(text);
  const pod = (kind === "Job" ? spec : spec.jobTemplate.spec).template.spec;
  const containers: readonly JobContainer[] = [...pod.initContainers, ...pod.containers];
  const mounts = Object.fromEntries(
    containers.map(({ name, volumeMounts }) => [name, volumeMounts.map((mount) => mount.name).toSorted()]),
  );
  const code = identify === "enroll" ? ["code"] : [];
  expect(mounts).toEqual({
    read: ["agent-work", "authority-work", "token"],
    authority: ["authority-work", "config", "published"],
    [identify]: ["agent-work", ...code, "config", "published"].toSorted(),
    write: ["agent-work", "authority-work", "token"],
  });
  // No key of the identity's Secret comes to a container by another way than the two folders.
  expect(pod.volumes.filter((volume: { secret?: { secretName: string } }) => volume.secret !== undefined)).toEqual(
    identify === "enroll"
      ? [{ name: "code", secret: { secretName: expect.stringMatching(/-code-[0-9a-f]{8}$/), defaultMode: 0o440 } }]
      : [],
  );
  for (const { args, env = [], volumeMounts } of containers) {
    const folders = [...args, ...env.map(({ value = "" }) => value)].filter((word) => word.startsWith("/scratch/"));
    expect(folders.length).toBeGreaterThan(1);
    for (const folder of folders) {
      expect(volumeMounts.filter(({ mountPath }) => folder.startsWith(`${mountPath}/`))).toHaveLength(1);
    }
  }
});

test("each code has a Secret of its own: a Job with a former code cannot use up the new one", async () => {
  const secretOf = async (code: string): Promise<string | undefined> => {
    const text = await render(...CONSTRAINED, ...REQUIRED, ...ISSUER, "--set", `enrollment.code=${code}`);
    const secrets = objects(text).flatMap(({ kind, metadata: { name } }) =>
      kind === "Secret" && name.includes("-code-") ? [name] : [],
    );
    expect(secrets).toHaveLength(1);
    expect(text).toContain(`secretName: ${secrets[0]},`);
    return secrets[0];
  };
  expect(await secretOf("former")).not.toBe(await secretOf("new"));
});

test("spans go where it says, and the policy lets them out", async () => {
  const text = await render(...CONSTRAINED, ...BASE, "--set", "tracing.endpoint=http://otel.monitoring:4318");
  expect(text.match(/tracing: \{ endpoint: "http:\/\/otel\.monitoring:4318" \}/g)).toHaveLength(2);
  expect(text).toContain("{ port: 4318, protocol: TCP }");
});

test("lint finds nothing", async () => {
  const done = await helm("lint", CHART, "--strict", ...BASE);
  expect(done).toMatchObject({ code: 0 });
});

test.each([
  ["constrained", CONSTRAINED],
  ["legacy", LEGACY],
])("the %s role is the one that the auth proxy asks for", async (file, version) => {
  const role = objects(await render(...version, ...BASE)).find(({ kind }) => kind === "ClusterRole");
  const text = await readFile(repositoryFile(`deploy/rbac/${file}.yaml`), "utf8");
  const expected: Rendered = parse(text.split("\n---\n")[0] ?? "");
  const flat = (rules: unknown): unknown =>
    Array.isArray(rules)
      ? rules.flatMap(({ apiGroups = [], resources = [], nonResourceURLs = [], verbs }) =>
          [...resources, ...nonResourceURLs].map((on) => `${apiGroups} ${on} ${verbs}`),
        )
      : undefined;
  expect(flat(role?.["rules"])).toEqual(flat(expected["rules"]));
});

test("no pod runs as root, writes its root, keeps a capability or mounts the host", async () => {
  const text = await render(...(VARIANTS["accounts"] ?? []));
  for (const needed of ["runAsNonRoot: true", "readOnlyRootFilesystem: true", "drop: [ALL]"])
    expect(text).toContain(needed);
  for (const refused of ["hostPath", "hostNetwork", "hostPort", "privileged: true"])
    expect(text).not.toContain(refused);
});

/** Every pod that an object of the chart leads to. */
function podsIn(text: string): readonly PodOf[] {
  const specOf = (value: unknown): PodOf["spec"] | undefined => {
    const { spec } = Object(value);
    if (spec === undefined) return undefined;
    return spec.containers === undefined ? specOf(spec.template ?? spec.jobTemplate) : spec;
  };
  return objects(text).flatMap((object) => {
    const spec = specOf(object);
    return spec === undefined ? [] : [{ name: `${object.kind} ${object.metadata.name}`, spec }];
  });
}

describe("OpenShift's restricted-v2", () => {
  let pods: readonly PodOf[] = [];
  beforeAll(async () => {
    const more = ["--set", "test.existingSecret=tokens", "--set", "global.httpsProxy=http://proxy.example:3128"];
    pods = podsIn(await render(...(VARIANTS["openshift"] ?? []), ...more));
  });

  test("is asked about every pod of the chart", () => {
    const kinds = ["Pod connect-test", "Deployment connect", "CronJob connect-rotate"];
    expect(pods.map(({ name }) => name)).toEqual(expect.arrayContaining(kinds));
    expect(pods).toHaveLength(kinds.length + 1); // the Job that enrolls has a hash in its name
  });

  test.each(Object.entries(RESTRICTED_V2))("%s", (_rule, keeps) => {
    expect(pods.filter((pod) => !keeps(pod)).map(({ name }) => name)).toEqual([]);
  });

  test("lets no pod be that names a user, as it does elsewhere", async () => {
    const elsewhere = podsIn(await render(...(VARIANTS["legacy"] ?? [])));
    const keeps = RESTRICTED_V2["runAsUser MustRunAsRange: none of its own"];
    expect(elsewhere.filter((pod) => keeps?.(pod))).toEqual([]);
  });
});

test("a proxy's password is in a Secret only, and another one makes other pods and another Job", async () => {
  const proxy = (password: string): Promise<string> =>
    render(...CONSTRAINED, ...BASE, "--set", `global.httpsProxy=http://user:${password}@proxy.example:3128`);
  const [first, second] = [objects(await proxy("word")), objects(await proxy("other"))];
  const shown = first.filter((object) => JSON.stringify(object).includes("user:word"));
  expect(shown.map(({ kind, metadata }) => `${kind} ${metadata.name}`)).toEqual(["Secret connect-proxy"]);
  const podsOf = (all: readonly Rendered[]): unknown => all.find(({ kind }) => kind === "Deployment")?.["spec"];
  expect(podsOf(second)).not.toEqual(podsOf(first));
  const jobOf = (all: readonly Rendered[]): unknown => all.find(({ kind }) => kind === "Job")?.metadata.name;
  expect(jobOf(second)).not.toBe(jobOf(first));
});

test("OpenShift's DNS is let out at the port behind its Service", async () => {
  const policy = async (variant: string): Promise<string> =>
    await render(...(VARIANTS[variant] ?? []), "--show-only", "templates/network.yaml");
  for (const protocol of ["UDP", "TCP"]) {
    expect(await policy("openshift")).toContain(`{ port: 5353, protocol: ${protocol} }`);
    expect(await policy("legacy")).not.toContain("5353");
  }
});

test("a port that is named twice is let out once", async () => {
  const network = await render(...CONSTRAINED, ...BASE, "--show-only", "templates/network.yaml");
  expect(network.match(/port: 443,/g)).toHaveLength(1);
});

test.each(["cluster-connect-agent", "cluster-connect-relay"] as const)(
  "%s can be packed as a version with metadata",
  async (name) => {
    const folder = await temporaryFolder();
    const version = "0.1.0+build.7";
    const packed = await helm(
      ...["package", chartFolder(name), "--destination", folder],
      ...["--version", version, "--app-version", version],
    );
    expect(packed).toMatchObject({ code: 0 });
    const archive = join(folder, `${name}-${version}.tgz`);
    const done = await runHelm({ helm: helmPath, path }, ["template", "connect", archive], REQUIRED_VALUES[name]);
    const labels = objects(done.stdout).map(({ metadata }) => metadata.labels["helm.sh/chart"]);
    expect(new Set(labels.filter((label) => label !== undefined))).toEqual(new Set([`${name}-0.1.0_build.7`]));
  },
);

test.each<readonly [string, readonly string[], string]>([
  ["no name", ["--set", "relay.url=https://r.example", ...ISSUER], "global/resourceName"],
  [
    "a name that no relay takes",
    ["--set", "global.resourceName=Not A Name", "--set", "relay.url=https://r.example"],
    "resourceName",
  ],
  ["no relay", ["--set", "global.resourceName=prod", ...ISSUER], "relay.url is the address of the relay"],
  ["nobody to believe", REQUIRED, "authentication.jwt names the issuers"],
  ["a value that there is not", [...BASE, "--set", "replica=3"], "replica"],
  [
    "constrained impersonation on a cluster without it",
    [...LEGACY, ...BASE, "--set", "rbac.mode=constrained"],
    "needs Kubernetes 1.36",
  ],
])("%s is refused before anything is installed", async (_name, args, said) => {
  const done = await helm("template", "connect", CHART, ...args);
  expect(done.code).toBe(1);
  expect(done.stderr).toContain(said);
});
