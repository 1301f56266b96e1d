import { type Claims, type Preset, parseAuthenticationConfiguration, presetConfiguration } from "@cluster-connect/auth";
import { parseClusterId } from "@cluster-connect/protocol";
import { expect, test } from "vitest";

const TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const entra: Preset = { kind: "entra", tenantIds: [TENANT], audiences: ["client"] };
const github: Preset = { kind: "github-actions", audiences: ["cc"], repositoryIds: ["42"], refs: ["refs/heads/main"] };
const gitlab: Preset = { kind: "gitlab", audiences: ["cc"], projectIds: ["7"] };
const subject = "sc://org/project/connection";
const pipelines: Preset = { kind: "azure-pipelines", organizationId: TENANT, subjects: [subject] };

function identify(preset: Preset, claims: Claims) {
  const [issuer] = parseAuthenticationConfiguration(presetConfiguration([preset])).issuers;
  issuer?.validate?.(claims);
  return issuer?.map(claims);
}

const user = {
  tid: TENANT,
  ver: "2.0",
  oid: "o1",
  sub: "pairwise",
  scp: "access",
  preferred_username: "ann@example.com",
};
const app = { tid: TENANT, ver: "2.0", oid: "o2", sub: "o2" };

test("an Entra user is named by the object id, with the human name beside it", () => {
  expect(identify(entra, { ...user, groups: ["g1"] })).toEqual({
    username: "entra:o1",
    groups: ["entra:g1"],
    uid: "o1",
    extra: {
      "connect.cluster-connect.io/name": ["ann@example.com"],
      "connect.cluster-connect.io/tenant": [TENANT],
      "connect.cluster-connect.io/kind": ["user"],
    },
  });
});

test("an Entra v1 token is taken by the v1 preset only", () => {
  const v1 = { ...user, ver: "1.0", preferred_username: undefined, upn: "ann@example.com" };
  const { preferred_username: _, ...claims } = v1;
  expect(identify({ ...entra, version: 1 }, claims)).toMatchObject({
    extra: { "connect.cluster-connect.io/name": ["ann@example.com"] },
  });
  expect(() => identify(entra, claims)).toThrow(/ver is not 2\.0/);
  expect(presetConfiguration([{ ...entra, version: 1 }])).toContain(`https://sts.windows.net/${TENANT}/`);
});

test("a token of an Entra app without a user is refused, or named apart where apps are allowed", () => {
  expect(() => identify(entra, app)).toThrow(/apps without a user/);
  expect(() => identify(entra, { ...user, idtyp: "app" })).toThrow(/apps without a user/);
  const allowed: Preset = { ...entra, apps: "allow" };
  expect(identify(allowed, app)).toMatchObject({
    username: "entra:app:o2",
    extra: { "connect.cluster-connect.io/kind": ["app"] },
  });
  expect(identify(allowed, user)).toMatchObject({ username: "entra:o1" });
});

test("an Entra token of another tenant, and one whose groups were left out, are refused", () => {
  expect(() => identify(entra, { ...user, tid: "other" })).toThrow(/tid is not an allowed one/);
  expect(() => identify(entra, { ...user, _claim_names: { groups: "src1" } })).toThrow(/too many groups/);
});

const job = { repository_id: "42", repository_owner_id: "1", ref: "refs/heads/main", repository: "o/r", actor: "ann" };

test("a GitHub workflow is named by repository id and by environment or ref", () => {
  expect(identify(github, job)).toMatchObject({
    username: "github:repository:42:ref:refs/heads/main",
    groups: ["github:owner:1", "github:repository:42"],
    extra: { "connect.cluster-connect.io/repository": ["o/r"], "connect.cluster-connect.io/actor": ["ann"] },
  });
  expect(identify(github, { ...job, environment: "prod" })).toMatchObject({
    username: "github:repository:42:environment:prod",
  });
});

test.each([{ repository_id: "43" }, { repository_id: 42 }, { ref: "refs/pull/1/merge" }])(
  "a GitHub workflow with %j is refused",
  (change) => {
    expect(() => identify(github, { ...job, ...change })).toThrow(/is not an allowed one/);
  },
);

test("a GitLab job of an unprotected ref is refused unless the preset says otherwise", () => {
  const claims = { project_id: "7", namespace_id: "3", ref: "main", ref_type: "branch", ref_protected: "false" };
  expect(() => identify(gitlab, claims)).toThrow(/ref_protected/);
  expect(identify(gitlab, { ...claims, ref_protected: "true" })).toMatchObject({
    username: "gitlab:project:7:ref:branch:main",
  });
  expect(identify({ ...gitlab, protectedOnly: false }, claims)).toBeDefined();
});

test("an Azure Pipelines service connection is named by its subject", () => {
  expect(identify(pipelines, { sub: subject })).toMatchObject({ username: `azure-pipelines:${subject}` });
  expect(() => identify(pipelines, { sub: "sc://org/other/connection" })).toThrow(/sub is not an allowed one/);
});

test("any other issuer is told apart by its URL", () => {
  const preset: Preset = { kind: "oidc", url: "https://id.example.com", audiences: ["a", "b"], groupsClaim: "roles" };
  expect(identify(preset, { sub: "ann", roles: "dev" })).toMatchObject({
    username: "https://id.example.com#ann",
    groups: ["https://id.example.com#dev"],
  });
});

test("a prefix cannot make a system user", () => {
  const preset: Preset = { kind: "oidc", url: "https://id.example.com", audiences: ["a"], usernamePrefix: "" };
  expect(() => identify(preset, { sub: "system:admin" })).toThrow(/must not begin with system:/);
});

test.each<Preset>([
  { kind: "github-actions", audiences: ["a"], refs: ["refs/heads/main"] },
  { kind: "gitlab", audiences: ["a"], refs: ["main"] },
  { kind: "azure-pipelines", organizationId: TENANT, subjects: [] },
  { kind: "entra", tenantIds: [], audiences: ["a"] },
  { kind: "entra", tenantIds: ["common"], audiences: ["a"] },
  { kind: "oidc", url: "http://id.example.com", audiences: ["a"] },
  { kind: "oidc", url: "https://id.example.com", audiences: [] },
])("%j would let anybody in or is no valid file, and is refused", (preset) => {
  expect(() => presetConfiguration([preset])).toThrow(expect.objectContaining({ code: "CC_CONFIG_INVALID" }));
});

test("values with quotes stay text", () => {
  const odd = 'main" || true || "';
  const preset: Preset = { ...github, refs: [odd] };
  expect(() => identify(preset, job)).toThrow(/ref is not an allowed one/);
  expect(identify(preset, { ...job, ref: odd })).toBeDefined();
});

test("an issuer is added to a file whose entries and comments stay", () => {
  const first = `# who may come in\n${presetConfiguration([entra])}# the end\n`;
  const both = presetConfiguration([github], { addTo: first });
  expect(both).toContain("# who may come in\n");
  expect(both).toContain("# the end");
  expect(parseAuthenticationConfiguration(both).issuers.map(({ url }) => url)).toEqual([
    `https://login.microsoftonline.com/${TENANT}/v2.0`,
    "https://token.actions.githubusercontent.com",
  ]);
});

test("an issuer that the file has already, and a file that is none, are refused and named", () => {
  const first = presetConfiguration([github]);
  expect(() => presetConfiguration([github], { addTo: first })).toThrow(/jwt\[1\]\.issuer\.url: is listed twice/);
  expect(() => presetConfiguration([github], { addTo: "kind: Pod\n" })).toThrow(/kind/);
});

test.each<Preset>([github, gitlab, { kind: "oidc", url: "https://id.example.com", audiences: ["cc"] }])(
  "one file for many clusters has the audience of each: $kind",
  (preset) => {
    const text = presetConfiguration([{ ...preset, audiences: ["https://k8s.example.com/{cluster}"] }]);
    expect(text).toContain("https://k8s.example.com/{cluster}");
    const audiencesOf = (clusterId: string): readonly string[] | undefined =>
      parseAuthenticationConfiguration(text, { clusterId: parseClusterId(clusterId) }).issuers[0]?.audiences;
    expect(audiencesOf("prod")).toEqual(["https://k8s.example.com/prod"]);
    expect(audiencesOf("staging")).toEqual(["https://k8s.example.com/staging"]);
    expect(() => presetConfiguration([{ ...preset, audiences: ["{cluster}/{cluster}"] }])).toThrow(/at most once/);
  },
);
