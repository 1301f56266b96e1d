import { readFile } from "node:fs/promises";
import { createMemoryLogger } from "@cluster-connect/service/testing";
import { describe, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { excessPrivileges } from "../../src/privileges/excess.ts";
import {
  CLUSTER_UID_RULE,
  expectedRules,
  type PolicyRule,
  type PrivilegeNeeds,
  renderRbac,
} from "../../src/privileges/rbac.ts";
import { createFixture, type Fixture, type FixtureOptions, IMPERSONATION } from "../support/fixture.ts";
import type { RecordingUpstream } from "../support/recording-upstream.ts";

const NEEDS: PrivilegeNeeds = {
  mode: "constrained",
  extraDomain: "connect.example.org",
  extraKeys: [],
  users: [],
  groups: [],
  allowAs: false,
  tokenReview: false,
};

/** Stands for an apiserver whose RBAC gives our account these rules. */
function grant(
  rules: readonly PolicyRule[],
  minor = "36",
  unlisted: readonly PolicyRule[] = [],
): (upstream: RecordingUpstream) => void {
  const allows = (verb: string, group: string, resource: string, name: string): boolean =>
    [...rules, ...unlisted].some((rule) => {
      const has = (list: readonly string[] | undefined, value: string): boolean =>
        list?.includes(value) === true || list?.includes("*") === true;
      const named = rule.resourceNames === undefined || rule.resourceNames.includes(name);
      return has(rule.apiGroups, group) && has(rule.resources, resource) && has(rule.verbs, verb) && named;
    });
  const answers: Readonly<Record<string, (body: string) => object>> = {
    "/version": () => ({ major: "1", minor }),
    "/apis/authentication.k8s.io/v1/selfsubjectreviews": () => ({
      status: { userInfo: { username: "system:serviceaccount:cluster-connect:proxy" } },
    }),
    "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews": () => ({
      status: {
        incomplete: false,
        resourceRules: rules.filter((rule) => rule.resources !== undefined),
        nonResourceRules: rules.filter((rule) => rule.nonResourceURLs !== undefined),
      },
    }),
    "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews": (body) => {
      const {
        verb = "",
        group = "",
        resource = "",
        subresource,
        name = "",
      } = JSON.parse(body).spec.resourceAttributes ?? {};
      const whole = subresource === undefined ? resource : `${resource}/${subresource}`;
      return { status: { allowed: allows(verb, group, whole, name) } };
    },
  };
  return (upstream) => {
    upstream.answer = (request, response, body) => {
      const answer = answers[request.url ?? ""]?.(body) ?? {};
      response.writeHead(request.method === "POST" ? 201 : 200, { "Content-Type": "application/json" });
      response.end(JSON.stringify(answer));
    };
  };
}

interface StartOptions extends FixtureOptions {
  /** Rules of an authorizer that lists none. */
  readonly unlisted?: readonly PolicyRule[];
}

function start(rules: readonly PolicyRule[], options: StartOptions = {}, minor?: string): Promise<Fixture> {
  const impersonation = { ...IMPERSONATION, mode: "auto" } as const;
  const config = { selfCheck: true, impersonation, ...options.config };
  return createFixture({ config, prepare: grant(rules, minor, options.unlisted) });
}

test("an account that may impersonate and nothing else serves", async () => {
  await using fixture = await start(expectedRules(NEEDS));
  expect(await fixture.log.once("serving")).toMatchObject({ mode: "constrained" });
});

test.each(["constrained", "legacy"] as const)(
  "one that may get the namespace kube-system too serves, %s",
  async (mode) => {
    const rules = [...expectedRules({ ...NEEDS, mode }), CLUSTER_UID_RULE];
    await using fixture = await start(rules, {}, mode === "legacy" ? "35" : "36");
    expect(await fixture.log.once("serving")).toMatchObject({ mode });
  },
);

test("another authorizer that lets the account get every namespace is seen by a question", async () => {
  const all = { apiGroups: [""], resources: ["namespaces"], verbs: ["get"] };
  await expect(start(expectedRules(NEEDS), { unlisted: [all] })).rejects.toMatchObject({
    code: "CC_PRIVILEGE_TOO_WIDE",
    message: expect.stringContaining("get namespaces"),
  });
});

test("below 1.36 the legacy role serves", async () => {
  await using fixture = await start(expectedRules({ ...NEEDS, mode: "legacy" }), {}, "35+");
  expect(await fixture.log.once("serving")).toMatchObject({ mode: "legacy" });
});

test("a cluster that was upgraded goes on with the legacy role it has", async () => {
  await using fixture = await start(expectedRules({ ...NEEDS, mode: "legacy" }), {}, "37");
  expect(await fixture.log.once("serving")).toMatchObject({ mode: "legacy" });
});

test.each<readonly [string, PolicyRule]>([
  ["get secrets", { apiGroups: [""], resources: ["secrets"], verbs: ["get"] }],
  ["list pods", { apiGroups: [""], resources: ["pods"], verbs: ["list"] }],
  ["* *.*", { apiGroups: ["*"], resources: ["*"], verbs: ["*"] }],
  ["get configmaps", { apiGroups: [""], resources: ["configmaps"], verbs: ["get"] }],
  ["get namespaces", { apiGroups: [""], resources: ["namespaces"], verbs: ["get"] }],
  ["get namespaces", { ...CLUSTER_UID_RULE, resourceNames: ["kube-system", "default"] }],
  ["list namespaces", { ...CLUSTER_UID_RULE, verbs: ["get", "list"] }],
  ["get secrets", { ...CLUSTER_UID_RULE, resources: ["namespaces", "secrets"] }],
  ["get /metrics", { nonResourceURLs: ["/metrics"], verbs: ["get"] }],
  ["impersonate users", { apiGroups: [""], resources: ["users"], verbs: ["impersonate"] }],
])("an account that may %s too does not serve", async (line, rule) => {
  await expect(start([...expectedRules(NEEDS), rule])).rejects.toMatchObject({
    code: "CC_PRIVILEGE_TOO_WIDE",
    message: expect.stringContaining(line),
  });
});

test("an account that lacks a right does not serve, and the role that is right is shown", async () => {
  const shown: string[] = [];
  const rules = expectedRules(NEEDS).filter((rule) => !rule.verbs.includes("impersonate:user-info"));
  const impersonation = { ...IMPERSONATION, mode: "constrained" } as const;
  await expect(
    createFixture({ config: { selfCheck: true, impersonation }, prepare: grant(rules), shown }),
  ).rejects.toMatchObject({
    code: "CC_IMPERSONATION_DENIED",
    message: expect.stringContaining("impersonate:user-info users.authentication.k8s.io"),
  });
  expect(shown).toEqual([
    renderRbac([...expectedRules(NEEDS), CLUSTER_UID_RULE], { namespace: "cluster-connect", name: "proxy" }),
  ]);
});

describe.each(["constrained", "legacy"] as const)("where callers are limited to some names, %s", (mode) => {
  const names = { users: ["alice", "bob"], groups: ["dev"] };
  const needs: PrivilegeNeeds = { ...NEEDS, ...names, mode };
  const config = { impersonation: { ...IMPERSONATION, ...names, mode: "auto" } } as const;
  const verb = mode === "constrained" ? "impersonate:user-info" : "impersonate";

  test("an account that may be these and nobody else serves", async () => {
    await using fixture = await start(expectedRules(needs), { config });
    expect(await fixture.log.once("serving")).toMatchObject({ mode });
  });

  test("one that may be anybody does not", async () => {
    await expect(start(expectedRules({ ...NEEDS, mode }), { config })).rejects.toMatchObject({
      code: "CC_PRIVILEGE_TOO_WIDE",
      message: expect.stringContaining(`${verb} users`),
    });
  });

  test("one that may not be one of them does not", async () => {
    const others = expectedRules({ ...needs, users: ["alice"] });
    await expect(start(others, { config })).rejects.toMatchObject({
      code: "CC_IMPERSONATION_DENIED",
      message: expect.stringMatching(new RegExp(`: ${verb} users\\S* bob$`)),
    });
  });
});

test("all that an account may do too much is in the log, to be tolerated where a cluster gives it to everybody", async () => {
  const verbs = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "approve"];
  const rule = { apiGroups: ["example.org"], resources: ["things"], verbs };
  const log = createMemoryLogger();
  const prepare = grant([...expectedRules(NEEDS), rule]);
  const config = { selfCheck: true, impersonation: { ...IMPERSONATION, mode: "auto" as const } };
  await expect(createFixture({ config, prepare, log })).rejects.toMatchObject({
    code: "CC_PRIVILEGE_TOO_WIDE",
    message: expect.stringContaining("and 1 more"),
  });
  const privileges = verbs.map((verb) => `${verb} things.example.org`);
  expect(log.lines).toContainEqual(expect.objectContaining({ event: "privileges.excess", privileges }));
});

test("what a cluster gives to everybody can be tolerated by name", async () => {
  const rule = { apiGroups: ["project.openshift.io"], resources: ["projects"], verbs: ["list"] };
  const tolerated = { toleratedPrivileges: ["list projects.project.openshift.io"] };
  await using fixture = await start([...expectedRules(NEEDS), rule], { config: tolerated });
  expect(await fixture.log.once("serving")).toBeDefined();
});

test.each(["constrained", "legacy"] as const)(
  "deploy/rbac/%s.yaml is the role that the check expects",
  async (mode) => {
    const file = new URL(`../../../../deploy/rbac/${mode}.yaml`, import.meta.url);
    const [role] = parseAllDocuments(await readFile(file, "utf8")).map((document) => document.toJS());
    const needs = { ...NEEDS, mode, extraDomain: "connect.cluster-connect.io" };
    expect(excessPrivileges(role.rules, expectedRules(needs), [])).toEqual([]);
    expect(excessPrivileges(expectedRules(needs), role.rules, [])).toEqual([]);
    expect(role.rules).toContainEqual(CLUSTER_UID_RULE);
  },
);

test("legacy verbs are absent from the constrained role, constrained ones from the legacy role", () => {
  const verbs = (mode: PrivilegeNeeds["mode"]): readonly string[] =>
    expectedRules({ ...NEEDS, mode, allowAs: true, tokenReview: true }).flatMap((rule) => rule.verbs);
  expect(verbs("constrained")).not.toContain("impersonate");
  expect(verbs("legacy").filter((verb) => verb.includes(":"))).toEqual([]);
});
