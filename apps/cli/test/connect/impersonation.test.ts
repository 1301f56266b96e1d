import { expect, test } from "vitest";
import { describeNarrowing, narrowImpersonation } from "../../src/connect/impersonation.ts";
import { createDoctorReport, type DoctorResult } from "../../src/doctor/report.ts";
import type { Confirm } from "../../src/terminal/confirm.ts";

const { signal } = new AbortController();

async function narrow(flags: Parameters<typeof narrowImpersonation>[0], answers?: readonly string[]) {
  const results: DoctorResult[] = [];
  const report = createDoctorReport({ signal }, (result) => results.push(result));
  const questions: string[] = [];
  const ask: Confirm = async (question) => {
    questions.push(question);
    return answers?.[questions.length - 1] ?? "";
  };
  const values = await narrowImpersonation(flags, answers === undefined ? undefined : ask, report, { signal });
  return { values, questions, result: results[0] };
}

test("users and groups are asked for apart, and blanks around names do not count", async () => {
  const { values, questions, result } = await narrow({}, [" jane , joe,", "oidc:team"]);
  expect(questions).toEqual([expect.stringContaining("Which users"), expect.stringContaining("which groups")]);
  expect(values).toEqual({ rbac: { users: ["jane", "joe"], groups: ["oidc:team"] } });
  expect(result).toMatchObject({ check: "impersonation", status: "ok", hint: null });
});

test("flags are taken without a question, also where only one is given", async () => {
  const { values, questions, result } = await narrow({ impersonateGroup: ["oidc:team"] }, []);
  expect(questions).toEqual([]);
  expect(values).toEqual({ rbac: { users: [], groups: ["oidc:team"] } });
  expect(result).toMatchObject({ status: "warning", hint: expect.stringContaining("--impersonate-user") });
});

test("where nobody can be asked nothing is narrowed, and that is said", async () => {
  const { values, result } = await narrow({});
  expect(values).toEqual({});
  expect(result).toMatchObject({ status: "warning", detail: expect.stringContaining("cluster-admin") });
});

test.each([
  [[], [], "as any user, and with any group, system:masters too: the auth proxy is cluster-admin"],
  [["jane"], [], "as jane, and with any group, system:masters too: the auth proxy is cluster-admin"],
  [[], ["team"], "as any user, and with team alone; so also as Kubernetes' own users, such as system:kube-scheduler"],
])(
  "users %j and groups %j leave something open, which is told with the flag that closes it",
  (users, groups, detail) => {
    const told = describeNarrowing({ users, groups });
    expect(told).toMatchObject({ value: false, detail, warning: expect.stringContaining("--impersonate-") });
  },
);

test("users and groups together leave nothing open", () => {
  const told = describeNarrowing({ users: ["jane"], groups: ["team"] });
  expect(told).toEqual({ value: true, detail: "as jane, and with team alone" });
});
