import { cp, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import { beforeAll, describe, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import type { Tools } from "../../src/cluster/binaries/tools.ts";
import type { RunResult } from "../../src/process/run-to-end.ts";
import {
  type ChartName,
  chartFolder,
  findChartTools,
  REQUIRED_VALUES,
  runHelm,
  withValueAt,
} from "../support/charts.ts";

type Values = Readonly<Record<string, unknown>>;
interface Rendered {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

const NAMES: readonly ChartName[] = ["cluster-connect-agent", "cluster-connect-relay"];
const CLUSTER_WIDE = ["ClusterRole", "ClusterRoleBinding"];
/** Every object that a chart can make. */
const EVERYTHING: Readonly<Record<ChartName, Values>> = {
  "cluster-connect-agent": {
    "global.httpsProxy": "http://proxy.example:3128",
    "test.existingSecret": "tokens",
    "serviceMonitor.enabled": true,
    "image.pullSecrets": [{ name: "pull" }],
  },
  "cluster-connect-relay": {
    "ingress.enabled": true,
    "ingress.host": "relay.example.com",
    "networkPolicy.enabled": true,
    "autoscaling.enabled": true,
    "metrics.serviceMonitor": true,
    imagePullSecrets: [{ name: "pull" }],
  },
};

let tools: Tools;
beforeAll(async () => {
  tools = await findChartTools();
});

const valuesOf = (chart: ChartName, more: Values = {}): Values =>
  Object.entries({ ...EVERYTHING[chart], ...more }).reduce(
    (values, [path, value]) => withValueAt(values, path, value),
    REQUIRED_VALUES[chart],
  );

const template = (folder: string, values: Values, release = "connect", namespace = "prod"): Promise<RunResult> =>
  runHelm(tools, ["template", release, folder, "--namespace", namespace, "--kube-version", "1.36.0"], values);

async function render(chart: ChartName, release: string, namespace: string, more: Values = {}): Promise<string> {
  const done = await template(chartFolder(chart), valuesOf(chart, more), release, namespace);
  expect(done).toMatchObject({ code: 0, stderr: "" });
  return done.stdout;
}

const objects = (text: string): readonly Rendered[] =>
  parseAllDocuments(text).flatMap((document) => (document.toJS() === null ? [] : [document.toJS()]));

/** The pods of an object: its own, or those that it makes. */
function podsIn(value: unknown): readonly object[] {
  if (typeof value !== "object" || value === null) return [];
  return "containers" in value ? [value] : Object.values(value).flatMap(podsIn);
}

/** Objects as the kube-apiserver tells them apart. */
const identities = (text: string): readonly string[] =>
  objects(text).map(({ kind, metadata }) =>
    [kind, CLUSTER_WIDE.includes(kind) ? "" : (metadata.namespace ?? "none"), metadata.name].join("/"),
  );

const LONG = "a".repeat(45);
describe.each(NAMES)("two releases of %s in one cluster share no object", (chart) => {
  test.each<readonly [string, readonly [string, string], readonly [string, string]]>([
    ["namespace and name that join to the same", ["prod-east", "agent"], ["prod", "east-agent"]],
    ["the same first 40 characters", ["prod", `${LONG}-one`], ["prod", `${LONG}-two`]],
    ["40 characters and one more", ["prod", "a".repeat(40)], ["prod", "a".repeat(41)]],
    ["a cut at a hyphen", ["prod", `${"a".repeat(39)}-b`], ["prod", "a".repeat(39)]],
    ["one named as the other's account", ["prod", "a"], ["prod", "a-keeper"]],
    ["one named as the other's Secret", ["prod", "a"], ["prod", "a-identity"]],
    ["one named as the other's Service", ["prod", "a"], ["prod", "a-peers"]],
    ["one named as the other's metrics", ["prod", "a"], ["prod", "a-metrics"]],
    ["one named as the other's test", ["prod", "a"], ["prod", "a-test"]],
    ["a dot and a hyphen", ["prod", "a.b"], ["prod", "a-b"]],
  ])("%s", async (_what, [oneNamespace, one], [otherNamespace, other]) => {
    const [first, second] = await Promise.all([render(chart, one, oneNamespace), render(chart, other, otherNamespace)]);
    const shared = new Set(identities(first)).intersection(new Set(identities(second)));
    expect([...shared]).toEqual([]);
    const labelOf = (text: string): readonly string[] => [
      ...new Set(text.match(/app\.kubernetes\.io\/instance: (?!.*-test$).*$/gm)),
    ];
    // Selectors take pods of their own release only.
    if (oneNamespace === otherNamespace) expect(labelOf(first)).not.toEqual(labelOf(second));
  });

  test.each(["connect", "1st", "a.b.c", LONG, `${"9".repeat(53)}`])(
    "%s makes names that the kube-apiserver takes, also for pods and Jobs made of them",
    async (release) => {
      for (const { kind, metadata } of objects(await render(chart, release, "prod"))) {
        if (CLUSTER_WIDE.includes(kind)) continue;
        // Services are DNS labels that begin with a letter; a CronJob's Jobs get eleven more characters.
        expect(metadata.name).toMatch(
          kind === "CronJob" ? /^[a-z][-a-z0-9]{0,50}[a-z0-9]$/ : /^[a-z][-a-z0-9]{0,61}[a-z0-9]$/,
        );
      }
    },
  );

  test("and a chart that includes it twice, under other names", async () => {
    const folder = await temporaryFolder();
    const umbrella = join(folder, "umbrella");
    await mkdir(join(umbrella, "charts"), { recursive: true });
    for (const included of NAMES)
      await cp(chartFolder(included), join(umbrella, "charts", included), { recursive: true });
    const dependencies = [
      ...NAMES.map((name) => ({ name, version: "0.1.0" })),
      { name: chart, version: "0.1.0", alias: "second" },
    ];
    const about = { apiVersion: "v2", name: "umbrella", version: "1.0.0", dependencies };
    await writeFile(join(umbrella, "Chart.yaml"), JSON.stringify(about));
    const { global, ...agent } = { global: { resourceName: "prod" }, ...REQUIRED_VALUES["cluster-connect-agent"] };
    const relay = REQUIRED_VALUES["cluster-connect-relay"];
    const second = chart === "cluster-connect-agent" ? agent : relay;
    const done = await template(umbrella, {
      global,
      "cluster-connect-agent": agent,
      "cluster-connect-relay": relay,
      second,
    });
    expect(done).toMatchObject({ code: 0, stderr: "" });
    const all = identities(done.stdout);
    expect(all.length).toBeGreaterThan(20);
    expect(all.filter((one, index) => all.indexOf(one) !== index)).toEqual([]);
  });
});

describe.each(NAMES)("for those who apply what helm renders of %s", (chart) => {
  test("each object names its namespace, and the same values make the same text", async () => {
    const text = await render(chart, "connect", "prod");
    const lost = objects(text).filter(
      ({ kind, metadata }) => !CLUSTER_WIDE.includes(kind) && metadata.namespace !== "prod",
    );
    expect(lost.map(({ kind, metadata }) => `${kind}/${metadata.name}`)).toEqual([]);
    expect(await render(chart, "connect", "prod")).toBe(text);
  });

  test("numbers mean the same to readers of YAML 1.1 and 1.2", async () => {
    // 0440 is 288 to one of them and 440 to the other.
    expect(await render(chart, "connect", "prod")).not.toMatch(/[:,[]\s*0\d+\s*(?:[,\]}#]|$)/m);
  });

  test.each(["registry.example.com/mirror", "registry.example.com/mirror/"])(
    "each image comes from %s, with the Secrets that it is pulled with",
    async (registry) => {
      const text = await render(chart, "connect", "prod", { "global.imageRegistry": registry });
      const images = text.match(/(?<=\bimage: ).*$/gm) ?? [];
      expect(images.length).toBeGreaterThan(0);
      expect(
        images.filter((image) => !/^registry\.example\.com\/mirror\/cluster-connect\/[a-z-]+:/.test(image)),
      ).toEqual([]);
      const pods = objects(text).flatMap(podsIn);
      expect(pods.length).toBeGreaterThan(0);
      expect(pods).toEqual(pods.map(() => expect.objectContaining({ imagePullSecrets: [{ name: "pull" }] })));
    },
  );
});

test.each([
  ["a day, unless told otherwise", {}, 86_400],
  ["never, for tools that keep what they have applied", { "enrollment.ttlSecondsAfterFinished": null }, undefined],
  ["at once", { "enrollment.ttlSecondsAfterFinished": 0 }, 0],
  ["a year", { "enrollment.ttlSecondsAfterFinished": 31_536_000 }, 31_536_000],
  ["as long as it can", { "enrollment.ttlSecondsAfterFinished": 2 ** 31 - 1 }, 2 ** 31 - 1],
])("Kubernetes removes the Job that enrolled: %s", async (_when, more, expected) => {
  const job = objects(await render("cluster-connect-agent", "connect", "prod", more)).find(
    ({ kind }) => kind === "Job",
  );
  expect(job).toMatchObject({ spec: { backoffLimit: 1 } });
  expect(Object(Object(job).spec).ttlSecondsAfterFinished).toBe(expected);
});

describe.each(NAMES)("values of a former %s, which helm takes with --reuse-values,", (chart) => {
  test("are named where they lack a group, with the flag that takes the new ones", async () => {
    const values = valuesOf(chart);
    const lacking = withValueAt(values, "serviceAccount", null);
    const done = await template(chartFolder(chart), withValueAt(lacking, "podDisruptionBudget", null));
    expect(done.code).toBe(1);
    expect(done.stderr).toContain("these values are missing: podDisruptionBudget, serviceAccount.");
    expect(done.stderr).toContain("--reset-then-reuse-values");
  });
});
