import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { AuditEvent } from "../../src/cluster/control-plane/audit-log.ts";
import { createDirectWorld, type DirectProxy, type DirectWorld } from "../support/direct-proxy.ts";
import { type HttpsAnswer, type HttpsRequest, sendHttps } from "../support/wire/https-client.ts";

let world: DirectWorld;
beforeAll(async () => {
  world = await createDirectWorld();
  await world.kubectl(["apply", "-f", "-"], JSON.stringify(bindings()));
});
afterAll(() => world?.[Symbol.asyncDispose]());

/** A dozen callers: names and groups of every kind that a role is bound to below, and some that none is. */
const CALLERS: readonly { readonly name: string; readonly groups: readonly string[] }[] = [
  { name: "alice", groups: [] },
  { name: "bob", groups: ["viewers"] },
  { name: "carol", groups: ["admins"] },
  { name: "dave", groups: ["viewers", "team,a"] },
  { name: "erin", groups: ["team", "a"] },
  { name: "Zoë Müller", groups: ["équipe"] },
  { name: "a,b", groups: [] },
  { name: "alice2", groups: ["viewers2"] },
  { name: "frank", groups: ["one", "two", "three", "four", "five"] },
  { name: "grace", groups: [",,,chameleon"] },
  { name: "heidi", groups: ["system:masters"] },
  { name: "ivan", groups: [] },
];

function bindings(): object {
  const bind = (name: string, role: string, subject: object, namespace?: string): object => ({
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: namespace === undefined ? "ClusterRoleBinding" : "RoleBinding",
    metadata: { name, ...(namespace === undefined ? {} : { namespace }) },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: role },
    subjects: [{ apiGroup: "rbac.authorization.k8s.io", ...subject }],
  });
  const user = (name: string): object => ({ kind: "User", name: `demo:${name}` });
  const group = (name: string): object => ({ kind: "Group", name: `demo:${name}` });
  const data = Object.fromEntries(Array.from({ length: 50 }, (_, index) => [`key-${index}`, "é".repeat(200)]));
  const impersonator = {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRole",
    metadata: { name: "may-act" },
    rules: [
      { apiGroups: [""], resources: ["users"], resourceNames: ["demo:bob"], verbs: ["impersonate"] },
      { apiGroups: [""], resources: ["groups"], resourceNames: ["demo:viewers"], verbs: ["impersonate"] },
      { apiGroups: [""], resources: ["serviceaccounts"], resourceNames: ["robot"], verbs: ["impersonate"] },
    ],
  };
  return {
    apiVersion: "v1",
    kind: "List",
    items: [
      { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } },
      { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "robot", namespace: "shop" } },
      { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "large", namespace: "shop" }, data },
      { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "small", namespace: "shop" }, data: { a: "1" } },
      impersonator,
      bind("a1", "view", group("viewers")),
      bind("a2", "cluster-admin", group("admins")),
      bind("a3", "edit", user("alice"), "shop"),
      bind("a4", "edit", group("team,a"), "shop"),
      bind("a5", "view", user("Zoë Müller"), "shop"),
      bind("a6", "view", user("a,b")),
      bind("a7", "edit", group("five")),
      bind("a8", "view", group(",,,chameleon"), "kube-system"),
      bind("a9", "may-act", user("alice")),
    ],
  };
}

const QUESTIONS: readonly object[] = [
  { resourceAttributes: { verb: "list", resource: "pods" } },
  { resourceAttributes: { verb: "list", resource: "pods", namespace: "shop" } },
  { resourceAttributes: { verb: "create", resource: "configmaps", namespace: "shop" } },
  { resourceAttributes: { verb: "get", resource: "secrets", namespace: "shop" } },
  { resourceAttributes: { verb: "get", resource: "secrets" } },
  { resourceAttributes: { verb: "list", resource: "configmaps", namespace: "kube-system" } },
  { resourceAttributes: { verb: "delete", resource: "nodes" } },
  { resourceAttributes: { verb: "create", resource: "pods", subresource: "exec", namespace: "shop" } },
  { resourceAttributes: { verb: "update", resource: "deployments", subresource: "scale", group: "apps" } },
  { resourceAttributes: { verb: "impersonate", resource: "users", name: "demo:bob" } },
  { resourceAttributes: { verb: "escalate", resource: "clusterroles", group: "rbac.authorization.k8s.io" } },
  { nonResourceAttributes: { verb: "get", path: "/metrics" } },
  { nonResourceAttributes: { verb: "get", path: "/version" } },
];

const wire = (text: string): string => Buffer.from(text).toString("latin1");

/** Headers with which the administrator acts as a caller, at the apiserver itself. */
function asCaller(name: string, groups: readonly string[]): readonly string[] {
  return [
    "Impersonate-User",
    wire(`demo:${name}`),
    ...groups.flatMap((group) => ["Impersonate-Group", wire(`demo:${group}`)]),
  ];
}

async function both(
  proxy: DirectProxy,
  caller: { readonly name: string; readonly groups: readonly string[] },
  request: HttpsRequest,
): Promise<readonly [through: HttpsAnswer, direct: HttpsAnswer]> {
  const token = await world.token(caller.name, caller.groups);
  const headers = request.headers ?? [];
  return Promise.all([
    sendHttps(proxy.target, { ...request, headers: ["Authorization", `Bearer ${token}`, ...headers] }),
    sendHttps(world.admin, { ...request, headers: [...asCaller(caller.name, caller.groups), ...headers] }),
  ]);
}

async function auditEvent(auditId: string): Promise<AuditEvent> {
  for await (const event of world.cluster.auditEvents({ signal: AbortSignal.timeout(60_000) })) {
    if (event.auditId === auditId) return event;
  }
  return expect.fail("the audit log has no such request");
}

describe.each(["constrained", "legacy"] as const)("with the %s role of deploy/rbac", (mode) => {
  let proxy: DirectProxy;
  beforeAll(async () => {
    await world.setRole(mode);
    proxy = await world.start();
  });
  afterAll(() => proxy?.[Symbol.asyncDispose]());

  test("the auth proxy finds the mode, proves its account and serves", async () => {
    expect(await proxy.logEvents()).toContainEqual(expect.objectContaining({ event: "privileges.proved", mode }));
  });

  test("kubectl auth whoami is the caller, with what says where the request came from", async () => {
    const result = await world.kubectlAt(proxy, await world.token("alice", ["dev", "a,b"]), [
      "auth",
      "whoami",
      "-o",
      "json",
    ]);
    expect(result.code, result.stderr).toBe(0);
    expect(JSON.parse(result.stdout).status.userInfo).toEqual({
      username: "demo:alice",
      groups: ["demo:dev", "demo:a,b", "system:authenticated"],
      extra: {
        "connect.cluster-connect.io/cluster": ["direct"],
        "connect.cluster-connect.io/issuer": [world.issuer.url],
        "connect.cluster-connect.io/subject": ["alice"],
      },
    });
  });

  test("the audit log has our account acting as the caller, under the Audit-ID of our own log line", async () => {
    const token = await world.token("bob", ["viewers"]);
    const headers = ["Authorization", `Bearer ${token}`];
    const answer = await sendHttps(proxy.target, { path: "/api/v1/namespaces/shop/configmaps/small", headers });
    const auditId = String(answer.headers["audit-id"]);
    expect(await auditEvent(auditId)).toMatchObject({
      username: "system:serviceaccount:cluster-connect:cluster-connect-auth-proxy",
      impersonatedUsername: "demo:bob",
      impersonatedGroups: ["demo:viewers", "system:authenticated"],
      responseCode: 200,
    });
    const line = { event: "request", auditId, username: "demo:bob", decision: "allowed", status: 200 };
    await expect.poll(() => proxy.logEvents()).toContainEqual(expect.objectContaining(line));
  });

  test("RBAC decides for each of a dozen callers as when they come directly", async () => {
    let allowed = 0;
    for (const caller of CALLERS) {
      for (const question of QUESTIONS) {
        const review = { apiVersion: "authorization.k8s.io/v1", kind: "SelfSubjectAccessReview", spec: question };
        const [through, direct] = await both(proxy, caller, {
          path: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
          method: "POST",
          headers: ["Content-Type", "application/json"],
          body: JSON.stringify(review),
        });
        expect(through.status).toBe(201);
        const isAllowed = ({ body }: HttpsAnswer): unknown => JSON.parse(body.toString()).status.allowed;
        expect(isAllowed(through), `${caller.name} ${JSON.stringify(question)}`).toBe(isAllowed(direct));
        allowed += isAllowed(through) === true ? 1 : 0;
      }
    }
    expect(allowed).toBeGreaterThan(CALLERS.length);
    expect(allowed).toBeLessThan((CALLERS.length * QUESTIONS.length) / 2);
  });

  const PROTOBUF = ["Accept", "application/vnd.kubernetes.protobuf"];
  const TABLE = ["Accept", "application/json;as=Table;v=v1;g=meta.k8s.io"];
  const DISCOVERY = ["Accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"];
  const READS: Readonly<Record<string, HttpsRequest>> = {
    get: { path: "/api/v1/namespaces/shop/configmaps/large" },
    "get of something missing": { path: "/api/v1/namespaces/shop/configmaps/missing" },
    "a refusal": { path: "/api/v1/namespaces/shop/secrets/x" },
    list: { path: "/api/v1/namespaces/shop/configmaps" },
    table: { path: "/api/v1/namespaces/shop/configmaps", headers: TABLE },
    protobuf: { path: "/api/v1/configmaps", headers: PROTOBUF },
    gzip: { path: "/api/v1/configmaps?limit=500", headers: ["Accept-Encoding", "gzip"] },
    "a chunk of a list": { path: "/apis/rbac.authorization.k8s.io/v1/clusterroles?limit=0&resourceVersion=0" },
    "pretty JSON": { path: "/api/v1/namespaces/shop/configmaps/small?pretty=true" },
    "a raw path": { path: "/version/" },
    discovery: { path: "/apis", headers: DISCOVERY },
    "old discovery": { path: "/api/v1" },
    "OpenAPI v2": { path: "/openapi/v2", headers: ["Accept-Encoding", "gzip"] },
    "OpenAPI v3": { path: "/openapi/v3/api/v1" },
    HEAD: { path: "/api/v1/namespaces/shop/configmaps/small", method: "HEAD" },
    "a watch that ends": { path: "/api/v1/namespaces/shop/configmaps?watch=1&resourceVersion=0&timeoutSeconds=1" },
    "a watch in protobuf": {
      path: "/api/v1/namespaces/shop/configmaps?watch=1&resourceVersion=0&timeoutSeconds=1",
      headers: ["Accept", "application/vnd.kubernetes.protobuf;stream=watch"],
    },
    "a path that is cleaned": { path: "/api/v1/namespaces/shop/../shop/configmaps" },
    "an unknown path": { path: "/nothing/here" },
  };
  test.each(Object.entries(READS))("%s is the same answer as directly, byte for byte", async (_name, request) => {
    const [through, direct] = await both(proxy, { name: "bob", groups: ["viewers"] }, request);
    expect(through.status).toBe(direct.status);
    expect(Buffer.compare(sorted(through, request), sorted(direct, request))).toBe(0);
    for (const header of ["content-type", "content-encoding", "vary", "etag", "location", "warning"]) {
      expect(through.headers[header], header).toEqual(direct.headers[header]);
    }
  });

  test("a list read in chunks is the same as directly, chunk for chunk", async () => {
    let chunks = 0;
    let next = "";
    do {
      const path = `/api/v1/configmaps?limit=2&continue=${encodeURIComponent(next)}`;
      const [through, direct] = await both(proxy, { name: "bob", groups: ["viewers"] }, { path });
      expect(through.status).toBe(200);
      const ours = JSON.parse(through.body.toString());
      const theirs = JSON.parse(direct.body.toString());
      expect(ours.items).toEqual(theirs.items);
      expect(ours.metadata.remainingItemCount).toBe(theirs.metadata.remainingItemCount);
      next = ours.metadata.continue ?? "";
      chunks += 1;
    } while (next !== "");
    expect(chunks).toBeGreaterThan(2);
  });

  const OBJECT = {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "new", namespace: "shop" },
    data: { a: "1" },
  };
  const JSON_TYPE = ["Content-Type", "application/json"];
  const ALL = "dryRun=All";
  const WRITES: Readonly<Record<string, HttpsRequest>> = {
    create: {
      method: "POST",
      path: `/api/v1/namespaces/shop/configmaps?${ALL}`,
      headers: JSON_TYPE,
      body: JSON.stringify(OBJECT),
    },
    "server-side apply": {
      method: "PATCH",
      path: `/api/v1/namespaces/shop/configmaps/new?fieldManager=x&${ALL}`,
      headers: ["Content-Type", "application/apply-patch+yaml"],
      body: JSON.stringify(OBJECT),
    },
    patch: {
      method: "PATCH",
      path: `/api/v1/namespaces/shop/configmaps/small?${ALL}`,
      headers: ["Content-Type", "application/strategic-merge-patch+json"],
      body: '{"data":{"b":"2"}}',
    },
    "delete with a body": {
      method: "DELETE",
      path: "/api/v1/namespaces/shop/configmaps/small",
      headers: JSON_TYPE,
      body: '{"kind":"DeleteOptions","apiVersion":"v1","dryRun":["All"]}',
    },
    "a body that is no JSON": {
      method: "POST",
      path: "/api/v1/namespaces/shop/configmaps",
      headers: JSON_TYPE,
      body: "{",
    },
  };
  test.each(Object.entries(WRITES))("%s has the same answer as directly", async (_name, request) => {
    const [through, direct] = await both(proxy, { name: "carol", groups: ["admins"] }, request);
    expect(through.status).toBe(direct.status);
    expect(withoutMoments(through.body)).toBe(withoutMoments(direct.body));
  });

  test.each([
    ["CVE-2021-31999", ["Connection", "Impersonate-User, Impersonate-Group, Authorization"]],
    ["CVE-2026-61682", ["X-Remote-User", "kubernetes-admin", "X-Remote-Group", "system:masters"]],
    ["an underscore", ["X_Remote_User", "kubernetes-admin"]],
    ["a cookie", ["Cookie", "a=b"]],
  ])("%s: in the audit log it is exactly the caller", async (_name, headers) => {
    const token = await world.token("ivan");
    const answer = await sendHttps(proxy.target, {
      path: "/api/v1/secrets",
      headers: ["Authorization", `Bearer ${token}`, ...headers],
    });
    expect(answer.status).toBe(403);
    expect(await auditEvent(String(answer.headers["audit-id"]))).toMatchObject({
      impersonatedUsername: "demo:ivan",
      impersonatedGroups: ["system:authenticated"],
      responseCode: 403,
    });
  });

  test.each([
    ["CVE-2021-36776", ["Impersonate-User", "system:admin"]],
    ["CVE-2026-17107", ["Impersonate-Group", "system:masters"]],
    ["a group in another spelling", ["IMPERSONATE_GROUP", "system:masters"]],
    ["an extra", ["Impersonate-Extra-%61", "x"]],
  ])("%s: a caller who brings an identity is refused before the apiserver sees anything", async (_name, headers) => {
    const token = await world.token("ivan");
    const marker = `/api/v1/namespaces/marker-${crypto.randomUUID()}`;
    const answer = await sendHttps(proxy.target, {
      path: marker,
      headers: ["Authorization", `Bearer ${token}`, ...headers],
    });
    expect(answer.status).toBe(403);
    // A request that is logged behind it shows that the log was read far enough.
    const after = await sendHttps(proxy.target, {
      path: `${marker}-after`,
      headers: ["Authorization", `Bearer ${token}`],
    });
    const last = String(after.headers["audit-id"]);
    for await (const event of world.cluster.auditEvents({ signal: AbortSignal.timeout(60_000) })) {
      expect(event.requestUri).not.toBe(marker);
      if (event.auditId === last) break;
    }
  });
});

/** Watch events of a cache come in no set order. */
function sorted({ body }: HttpsAnswer, { path, headers = [] }: HttpsRequest): Buffer {
  if (!path.includes("watch=1") || headers.length > 0)
    return path.includes("watch=1") ? Buffer.from(body.toSorted()) : body;
  return Buffer.from(body.toString("latin1").split("\n").sort().join("\n"), "latin1");
}

/** An answer without what the apiserver makes up for each request. */
function withoutMoments(body: Buffer): string {
  return body
    .toString()
    .replaceAll(/"uid":"[0-9a-f-]{36}"/g, '"uid":""')
    .replaceAll(/"(time|creationTimestamp|deletionTimestamp)":"[^"]*"/g, '"$1":""');
}

describe("what the account may do", () => {
  test.each([
    ["a view role bound to it", "CC_PRIVILEGE_TOO_WIDE", 54],
    ["no role at all", "CC_IMPERSONATION_DENIED", 53],
  ])("%s: the auth proxy refuses to serve, with an exit code of its own", async (what, word, exit) => {
    await world.setRole(what.startsWith("no") ? { yaml: emptyRole() } : { yaml: viewRole() });
    const mode = { impersonation: { mode: "constrained" } };
    const { code, log } = await world.startToEnd(mode);
    expect(code).toBe(exit);
    expect(log).toContain(word);
    expect(log).toContain("impersonate:user-info");
  });

  test("the role that it shows is right: applied as it is, it serves, with ServiceAccounts and --as too", async () => {
    await world.setRole({ yaml: emptyRole() });
    const config = {
      impersonation: { mode: "constrained", allowAs: true },
      tokenReview: { enabled: true, audiences: ["cluster-connect"] },
    };
    const { log } = await world.startToEnd(config);
    const shown = shownRole(log);
    await world.setRole({ yaml: shown });
    await using proxy = await world.start(config);
    await serviceAccountsPass(proxy);
    await actingPasses(proxy);
  });

  test("legacy: the role that it shows is right for ServiceAccounts and --as too", async () => {
    await world.setRole({ yaml: emptyRole() });
    const config = {
      impersonation: { mode: "legacy", allowAs: true },
      tokenReview: { enabled: true, audiences: ["cluster-connect"] },
    };
    const { log } = await world.startToEnd(config);
    await world.setRole({ yaml: shownRole(log) });
    await using proxy = await world.start(config);
    await serviceAccountsPass(proxy);
    await actingPasses(proxy);
  });

  test.each(["constrained", "legacy"])("%s: whom callers may be is limited by name", async (mode) => {
    await world.setRole({ yaml: emptyRole() });
    const limits = { users: ["demo:alice", "demo:bob"], groups: ["demo:dev"] };
    const { log } = await world.startToEnd({ impersonation: { mode, ...limits } });
    await world.setRole({ yaml: shownRole(log) });
    await using proxy = await world.start({ impersonation: { mode: "auto", ...limits } });
    expect(await proxy.logEvents()).toContainEqual(expect.objectContaining({ event: "privileges.proved", mode }));
    expect(await whoami(proxy, await world.token("alice", ["dev"]))).toMatchObject({ username: "demo:alice" });
    for (const [name, groups] of [
      ["carol", []],
      ["alice", ["dev", "ops"]],
    ] as const) {
      const refused = await world.kubectlAt(proxy, await world.token(name, groups), ["get", "--raw", "/version"]);
      expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("cannot impersonate") });
    }
    const { code, log: tooWide } = await world.startToEnd({ impersonation: { mode, users: ["demo:alice"] } });
    expect(tooWide).toContain("CC_IMPERSONATION_DENIED");
    expect(code).toBe(53);
  });
});

async function whoami(
  proxy: DirectProxy,
  token: string,
  ...args: readonly string[]
): Promise<{ username: string; groups: string[]; extra?: Record<string, string[]> }> {
  const result = await world.kubectlAt(proxy, token, ["auth", "whoami", "-o", "json", ...args]);
  expect(result.code, result.stderr).toBe(0);
  return JSON.parse(result.stdout).status.userInfo;
}

async function serviceAccountsPass(proxy: DirectProxy): Promise<void> {
  const token = (await world.kubectl(["create", "token", "robot", "-n", "shop", "--audience=cluster-connect"])).trim();
  const fixed = ["system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"];
  const robot = await whoami(proxy, token);
  expect(robot.username).toBe("system:serviceaccount:shop:robot");
  expect(robot.groups).toEqual(fixed);
  const other = (await world.kubectl(["create", "token", "robot", "-n", "shop"])).trim();
  const answer = await sendHttps(proxy.target, { path: "/api", headers: ["Authorization", `Bearer ${other}`] });
  expect(answer.status).toBe(401);
}

async function actingPasses(proxy: DirectProxy): Promise<void> {
  const alice = await world.token("alice", ["dev"]);
  const acting = await whoami(proxy, alice, "--as=demo:bob", "--as-group=demo:viewers");
  expect(acting).toMatchObject({
    username: "demo:bob",
    groups: ["demo:viewers", "system:authenticated"],
    extra: { "connect.cluster-connect.io/impersonated-by": ["demo:alice"] },
  });
  expect((await whoami(proxy, alice, "--as=system:serviceaccount:shop:robot")).username).toBe(
    "system:serviceaccount:shop:robot",
  );
  for (const refused of ["--as=demo:carol", "--as=demo:bob --as-group=demo:admins", "--as=demo:bob --as-uid=1"]) {
    const result = await world.kubectlAt(proxy, alice, ["get", "namespaces", ...refused.split(" ")]);
    expect(result.code).not.toBe(0);
    expect(result.stderr).toContain("CC_IMPERSONATION_DENIED");
  }
}

/** The role among the lines that the auth proxy wrote. */
function shownRole(log: string): string {
  return /---\n(apiVersion: rbac[\s\S]*?)\n(?=\{|error:)/.exec(log)?.[1] ?? "";
}

function emptyRole(): string {
  return "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: { name: nothing }\nrules: []\n";
}

function viewRole(): string {
  return JSON.stringify({
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRoleBinding",
    metadata: { name: "too-wide" },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "view" },
    subjects: [{ kind: "ServiceAccount", namespace: "cluster-connect", name: "cluster-connect-auth-proxy" }],
  });
}
