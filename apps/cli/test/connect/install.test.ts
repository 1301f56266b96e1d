import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { findChart } from "../../src/connect/chart.ts";
import { unpackChart } from "../../src/connect/embedded-chart.ts";
import { install, readAuthentication, readCode, requireAuthentication } from "../../src/connect/install.ts";
import { findInstallation } from "../../src/connect/installation.ts";
import type { ClusterTools, ToolResult } from "../../src/connect/tool.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "connect-"));
});
afterEach(() => rm(folder, { recursive: true }));

const said = (stdout: string, code = 0, stderr = ""): ToolResult => ({ code, stdout, stderr });
const { signal } = new AbortController();
const base = {
  chart: "chart",
  namespace: "connect",
  timeoutSeconds: 60,
  values: { a: 1 },
  valueFiles: [],
  sets: [],
  signal,
};

test("own values go by standard input, so that no code is seen in the list of processes", async () => {
  const seen: { args: readonly string[]; input: string | undefined }[] = [];
  const tools: ClusterTools = {
    kubectl: async () => said('{"items":[]}'),
    helm: async (args, input) => {
      seen.push({ args, input });
      return said("Release has been upgraded.\nNOTES:\nlong text");
    },
  };
  const values = { enrollment: { code: "secret-code" } };
  expect(await install({ ...base, dryRun: false, values }, tools)).toBe("Release has been upgraded.");
  expect(seen[0]?.args.join(" ")).not.toContain("secret-code");
  expect(JSON.parse(seen[0]?.input ?? "")).toEqual(values);
});

const job = (name: string, failed: number) => ({ metadata: { name, uid: `uid-${name}` }, status: { failed } });

/** A cluster with a Job of a code that was refused before, which fails on, and beside it another one that fails later. */
function withFailedEnrollment(answer: (args: readonly string[]) => ToolResult): ClusterTools {
  const looks = [[job("former", 1)], [job("former", 2)], [job("former", 2), job("new", 0)], [job("new", 1)]];
  return {
    kubectl: async (args) => (args[1] === "jobs" ? said(JSON.stringify({ items: looks.shift() ?? [] })) : answer(args)),
    helm: (_args, _input, stop) =>
      new Promise((_resolve, reject) => stop?.addEventListener("abort", () => reject(stop.reason))),
  };
}

test("a failed enrollment ends the wait with the line that says why, from the pod of its own Job that failed last", async () => {
  const seen: string[] = [];
  const tools = withFailedEnrollment((args) => {
    seen.push(args.join(" "));
    if (args[0] === "get") return said("pod/enroll-before\npod/enroll-failed\n");
    return said("starting\nerror: The code is not known (CC_ENROLLMENT_CODE_INVALID)\nhint: …\n");
  });
  await expect(install({ ...base, dryRun: false }, tools)).rejects.toMatchObject({
    code: "CC_INSTALL_FAILED",
    message: "The enrollment failed: The code is not known (CC_ENROLLMENT_CODE_INVALID)",
  });
  expect(seen[0]).toContain("--selector batch.kubernetes.io/job-name=new --field-selector status.phase=Failed");
  expect(seen[1]).toMatch(/^logs pod\/enroll-failed --namespace connect /);
});

test("an enrollment whose pod is gone, or that kubectl cannot see, says so", async () => {
  const gone = withFailedEnrollment(() => said(""));
  const message = expect.stringMatching(/^The enrollment failed: its pod is gone/);
  await expect(install({ ...base, dryRun: false }, gone)).rejects.toMatchObject({ message });
  const forbidden = withFailedEnrollment(() => said("", 1, "Error from server (Forbidden): pods is forbidden"));
  await expect(install({ ...base, dryRun: false }, forbidden)).rejects.toMatchObject({
    message: "The enrollment failed: Error from server (Forbidden): pods is forbidden",
  });
});

test("a dry run says what it has shown, and none of the objects", async () => {
  const objects = "HOOKS:\nMANIFEST:\n---\nkind: Deployment\n  items: [{ path: namespace }]\n\nNOTES:\nlong text";
  const tools: ClusterTools = { kubectl: async () => said(""), helm: async () => said(objects) };
  const shown = "the cluster would take every object; nothing was changed";
  expect(await install({ ...base, dryRun: true }, tools)).toBe(shown);
});

test("a first installation needs to be told whose tokens are believed", () => {
  const usage = { code: "CC_USAGE", hint: expect.stringContaining("--authentication FILE") };
  expect(() => requireAuthentication({})).toThrow(expect.objectContaining(usage));
  for (const flags of [{ authentication: "a.yaml" }, { values: ["v.yaml"] }, { set: ["a=b"] }]) {
    expect(() => requireAuthentication(flags)).not.toThrow();
  }
});

test("a file with the code that is not there is named", async () => {
  const codeFile = join(folder, "code");
  await expect(readCode({ codeFile })).rejects.toMatchObject({
    code: "CC_FILE_MISSING",
    message: `There is no file ${codeFile}`,
  });
  await writeFile(codeFile, "cc1-code\n");
  expect(await readCode({ codeFile })).toBe("cc1-code");
});

test("what helm says at last is the reason when it fails", async () => {
  const tools: ClusterTools = {
    kubectl: async () => said(""),
    helm: async () => said("", 1, "x\nError: no space\n\n"),
  };
  await expect(install({ ...base, dryRun: true }, tools)).rejects.toMatchObject({ message: "helm: Error: no space" });
});

test("nothing installed, not enrolled yet, enrolled: each is told apart", async () => {
  const none: ClusterTools = {
    kubectl: async () => said(""),
    helm: async () => said("", 1, "Error: release: not found"),
  };
  expect(await findInstallation("connect", none)).toMatchObject({ revision: undefined, isEnrolled: false });
  const installed = (data: Record<string, string>): ClusterTools => ({
    kubectl: async () => said(JSON.stringify({ data })),
    helm: async ([word]) =>
      word === "status"
        ? said('{"version":3}')
        : said('{"global":{"resourceName":"prod"},"relay":{"url":"https://relay.example"}}'),
  });
  expect(await findInstallation("connect", installed({}))).toEqual({
    revision: 3,
    isEnrolled: false,
    cluster: "prod",
    relay: "https://relay.example",
  });
  const files = { "agent-key.pem": "eA==", "enrolled.json": "eA==" };
  expect(await findInstallation("connect", installed(files))).toMatchObject({ isEnrolled: true });
  const broken: ClusterTools = { ...none, helm: async () => said("", 1, "Error: Kubernetes cluster unreachable") };
  await expect(findInstallation("connect", broken)).rejects.toMatchObject({ code: "CC_INSTALL_FAILED" });
});

test("issuers are read from Kubernetes' own format, and anything else is refused", async () => {
  const file = join(folder, "authentication.yaml");
  await writeFile(file, "kind: AuthenticationConfiguration\njwt:\n  - issuer: {url: https://id.example}\n");
  expect(await readAuthentication(file)).toEqual([{ issuer: { url: "https://id.example" } }]);
  await writeFile(file, "kind: Pod\n");
  await expect(readAuthentication(file)).rejects.toMatchObject({ code: "CC_CONFIG_INVALID" });
});

test("the chart is found with the program; another one is named", async () => {
  const deps = {
    self: { command: "node", args: [join(folder, "cluster-connect.mjs")] },
    env: {},
    homeDir: folder,
  };
  expect(await findChart(undefined, deps)).toMatch(/deploy\/charts\/cluster-connect-agent$/);
  await writeFile(join(folder, "Chart.yaml"), "");
  expect(await findChart(folder, deps)).toBe(folder);
  expect(await findChart("oci://registry.example/chart", deps)).toBe("oci://registry.example/chart");
});

test("a chart inside the program is written once for this user alone, and another one beside it", async () => {
  const state = join(folder, "state");
  const files = { "Chart.yaml": "name: one", "templates/a.yaml": "a" };
  const one = await unpackChart(files, state);
  expect(await readFile(join(one, "templates", "a.yaml"), "utf8")).toBe("a");
  expect((await stat(join(one, "Chart.yaml"))).mode & 0o077).toBe(0);
  expect((await stat(one)).mode & 0o077).toBe(0);
  // Several at once, one of them first: all get the same folder, and nothing is left beside it.
  const others = await Promise.all([1, 2, 3].map(() => unpackChart({ ...files, "templates/b.yaml": "b" }, state)));
  expect(new Set(others).size).toBe(1);
  expect(await unpackChart(files, state)).toBe(one);
  expect(await readdir(state)).toHaveLength(2);
});
