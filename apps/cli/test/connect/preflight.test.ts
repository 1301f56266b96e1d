import { expect, test } from "vitest";
import { checkTarget } from "../../src/connect/preflight.ts";
import type { ClusterTools, ToolResult } from "../../src/connect/tool.ts";
import { createDoctorReport } from "../../src/doctor/report.ts";

const NOW = Date.parse("2026-01-01T00:00:00Z");
const said = (stdout: string, code = 0, stderr = ""): ToolResult => ({ code, stdout, stderr });

interface Cluster {
  readonly version?: ToolResult;
  readonly refuses?: readonly string[];
  readonly clock?: string;
}

/** kubectl and helm of a cluster that answers so; calls that would have changed it are kept. */
function toolsOf({ version, refuses = [], clock = "2026-01-01T00:00:00Z" }: Cluster): {
  readonly tools: ClusterTools;
  readonly changes: readonly (readonly string[])[];
} {
  const changes: (readonly string[])[] = [];
  const kubectl = async (args: readonly string[], input = ""): Promise<ToolResult> => {
    if (args[0] === "version") {
      return version ?? said(JSON.stringify({ serverVersion: { gitVersion: "v1.36.3", minor: "36" } }));
    }
    if (args[1] === "configmap") {
      expect(args).toContain("--dry-run=server");
      return said(JSON.stringify({ metadata: { creationTimestamp: clock } }));
    }
    const { items } = JSON.parse(input);
    for (const { kind } of items) if (kind !== "SelfSubjectAccessReview") changes.push(args);
    const answers = items.map((item: { spec: { resourceAttributes: { verb: string; resource: string } } }) => {
      const { verb, resource } = item.spec.resourceAttributes;
      return { ...item, status: { allowed: !refuses.includes(`${verb} ${resource}`) } };
    });
    return said(answers.map((answer: unknown) => `${JSON.stringify(answer, undefined, 4)}\n`).join(""));
  };
  return { tools: { kubectl, helm: async () => said("v4.1.0\n") }, changes };
}

async function check(cluster: Cluster) {
  const report = createDoctorReport({ signal: new AbortController().signal }, () => {});
  const { tools, changes } = toolsOf(cluster);
  await checkTarget("cluster-connect", report, tools, { now: () => NOW });
  expect(changes).toEqual([]);
  return { report, of: (name: string) => report.results.find((result) => result.check === name) };
}

test("a cluster where everything is allowed passes", async () => {
  const { report, of } = await check({});
  expect(report.exitCode()).toBe(0);
  expect(of("cluster")?.detail).toBe("Kubernetes v1.36.3 answers");
  expect(of("cluster's clock")?.detail).toBe("as this machine's");
});

test("everything that is not allowed is said at once", async () => {
  const { report, of } = await check({ refuses: ["create secrets", "escalate clusterroles"] });
  expect(report.exitCode()).toBe(55);
  expect(of("permissions")?.detail).toBe("You may not create secrets, escalate clusterroles in cluster-connect");
});

test("a cluster that does not answer is named with kubectl's own words, and nothing more is asked", async () => {
  const version = said("", 1, "Unable to connect to the server: dial tcp: i/o timeout\n");
  const { of } = await check({ version });
  expect(of("cluster")).toMatchObject({ status: "failed", code: "CC_APISERVER_UNREACHABLE" });
  expect(of("cluster")?.detail).toContain("i/o timeout");
  expect(of("permissions")?.status).toBe("skipped");
});

test("a Kubernetes that is too old is refused", async () => {
  const version = said(JSON.stringify({ serverVersion: { gitVersion: "v1.27.9", minor: "27+" } }));
  const { of } = await check({ version });
  expect(of("cluster")).toMatchObject({ status: "failed", detail: "Kubernetes v1.27.9 is older than 1.28" });
});

test.each([
  ["2026-01-01T00:05:00Z", "301 s ahead of this machine's"],
  ["2025-12-31T23:55:00Z", "300 s behind this machine's"],
])("a clock that differs is warned about: %s", async (clock, detail) => {
  const { report, of } = await check({ clock });
  expect(of("cluster's clock")).toMatchObject({ status: "warning", detail });
  expect(report.exitCode()).toBe(0);
});
