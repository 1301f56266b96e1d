import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createDirectWorld, type DirectProxy, type DirectWorld } from "../support/direct-proxy.ts";
import { startWithShownRole } from "../support/shown-role.ts";
import { sendHttp2 } from "../support/wire/http2-client.ts";
import { type HttpsAnswer, type HttpsRequest, type HttpsTarget, sendHttps } from "../support/wire/https-client.ts";

const AUDIENCE = "cluster-connect";
const OWN_EXTRAS = "connect.cluster-connect.io/";
type Mode = "constrained" | "legacy";
/** Modes, and whether HTTP/2 is spoken. */
const MODES: readonly (readonly [Mode, boolean])[] = [
  ["constrained", true],
  ["legacy", false],
];

let world: DirectWorld;
let apiserver: HttpsTarget;
beforeAll(async () => {
  world = await createDirectWorld();
  apiserver = { url: world.cluster.apiserverUrl, ca: world.cluster.caPem };
  await world.kubectl(["apply", "-f", "-"], JSON.stringify(objects()));
});
afterAll(() => world?.[Symbol.asyncDispose]());

/** Accounts that come through us and directly, as the same person: one may impersonate all, one users alone. */
function objects(): object {
  const rbac = { apiVersion: "rbac.authorization.k8s.io/v1" };
  const role = (name: string, rules: readonly object[]): object => ({
    ...rbac,
    kind: "ClusterRole",
    metadata: { name },
    rules,
  });
  const bind = (name: string, roleName: string, account: string): object => ({
    ...rbac,
    kind: "ClusterRoleBinding",
    metadata: { name },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: roleName },
    subjects: [{ kind: "ServiceAccount", namespace: "shop", name: account }],
  });
  const core = ["users", "groups", "serviceaccounts"];
  return {
    apiVersion: "v1",
    kind: "List",
    items: [
      { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } },
      ...["all", "users-only", "editor"].map((name) => ({
        apiVersion: "v1",
        kind: "ServiceAccount",
        metadata: { name, namespace: "shop" },
      })),
      { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "small", namespace: "shop" }, data: { a: "größe" } },
      {
        apiVersion: "v1",
        kind: "Service",
        metadata: { name: "web", namespace: "shop" },
        spec: { ports: [{ port: 80 }] },
      },
      role("acts-as-all", [
        { apiGroups: [""], resources: core, verbs: ["impersonate"] },
        { apiGroups: ["authentication.k8s.io"], resources: ["uids", "userextras/*"], verbs: ["impersonate"] },
      ]),
      role("acts-as-users", [{ apiGroups: [""], resources: ["users"], verbs: ["impersonate"] }]),
      bind("p1", "acts-as-all", "all"),
      bind("p2", "acts-as-users", "users-only"),
      bind("p3", "edit", "editor"),
    ],
  };
}

interface Both {
  readonly through: string;
  readonly direct: string;
}

async function tokensOf(account: string): Promise<Both> {
  const [through, direct] = await Promise.all([
    world.kubectl(["create", "token", account, "-n", "shop", `--audience=${AUDIENCE}`]),
    world.kubectl(["create", "token", account, "-n", "shop"]),
  ]);
  return { through: through.trim(), direct: direct.trim() };
}

async function sendBoth(
  proxy: DirectProxy,
  tokens: Both,
  request: HttpsRequest,
  send: typeof sendHttps = sendHttps,
): Promise<readonly [through: HttpsAnswer, direct: HttpsAnswer]> {
  const headers = request.headers ?? [];
  return await Promise.all([
    send(proxy.target, { ...request, headers: ["Authorization", `Bearer ${tokens.through}`, ...headers] }),
    send(apiserver, { ...request, headers: ["Authorization", `Bearer ${tokens.direct}`, ...headers] }),
  ]);
}

/** Starts the auth proxy in a mode, with the role that it shows for these settings. */
async function startIn(mode: Mode, http2: boolean): Promise<DirectProxy> {
  const config = {
    http2,
    impersonation: { mode, allowAs: true, extraKeys: ["key1", "example.org/x"] },
    tokenReview: { enabled: true, audiences: [AUDIENCE] },
  };
  return await startWithShownRole(world, config);
}

const USERS = [
  "demo:bob",
  "system:node:n1",
  "system:node:",
  "system:serviceaccount:shop:editor",
  "system:serviceaccount:Shop:editor",
  "system:anonymous",
];
const ACCOUNT_GROUPS = ["system:serviceaccounts", "system:serviceaccounts:shop"];
const GROUPS: readonly (readonly string[])[] = [
  [],
  ["demo:dev", "a,b"],
  ["system:nodes"],
  ACCOUNT_GROUPS,
  [...ACCOUNT_GROUPS, "system:authenticated"],
  ACCOUNT_GROUPS.slice(0, 1),
  ["system:nodes", "demo:dev"],
];
const EXTRAS: readonly (readonly string[])[] = [
  [],
  ["Impersonate-Extra-Key1", "a"],
  ["Impersonate-Extra-example.org%2Fx", "b", "Impersonate-Extra-key1", "c"],
];
const UIDS: readonly (readonly string[])[] = [[], ["Impersonate-Uid", "7"]];

interface Acting {
  readonly user: string;
  readonly groups: readonly string[];
  readonly rest: readonly string[];
}

function everyActing(): readonly Acting[] {
  return USERS.flatMap((user) =>
    GROUPS.flatMap((groups) =>
      EXTRAS.flatMap((extra) => UIDS.map((uid) => ({ user, groups, rest: [...extra, ...uid] }))),
    ),
  );
}

/** The caller's identity as the apiserver sees it, without the extras that tell where the request came from. */
function identityIn({ status, body }: HttpsAnswer): object | undefined {
  if (status !== 201) return undefined;
  const { username, uid, groups, extra = {} } = JSON.parse(body.toString()).status.userInfo;
  const asked = Object.entries(extra).filter(([key]) => !key.startsWith(OWN_EXTRAS));
  return { username, uid, groups: [...groups].sort(), extra: Object.fromEntries(asked) };
}

/** Constrained impersonation takes the names of these alone; docs/differences.md says what follows. */
function isListed({ user, groups, rest }: Acting, mode: Mode): boolean {
  const isAccount = user === "system:serviceaccount:shop:editor";
  if (mode === "legacy" || !(isAccount || user === "system:node:n1")) return false;
  const asked = groups.filter((group) => group !== "system:authenticated").join();
  const fits = isAccount ? ["", ACCOUNT_GROUPS.join()].includes(asked) : asked === "system:nodes";
  return !fits || rest.length > 0;
}

describe.each(MODES)("with %s impersonation, HTTP/2 %s", (mode, http2) => {
  let proxy: DirectProxy;
  beforeAll(async () => {
    proxy = await startIn(mode, http2);
  });
  afterAll(() => proxy?.[Symbol.asyncDispose]());

  test.each([
    ["all", 40],
    ["users-only", 3],
  ])("whoever %s may impersonate is the same as directly, or is refused with a reason", async (account, atLeast) => {
    const tokens = await tokensOf(account);
    const whoami = { apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" };
    let same = 0;
    for (const acting of everyActing()) {
      const groups = acting.groups.flatMap((group) => ["Impersonate-Group", group]);
      const [through, direct] = await sendBoth(proxy, tokens, {
        method: "POST",
        path: "/apis/authentication.k8s.io/v1/selfsubjectreviews",
        headers: ["Content-Type", "application/json", "Impersonate-User", acting.user, ...groups, ...acting.rest],
        body: JSON.stringify(whoami),
      });
      const what = JSON.stringify([acting, through.status, through.body.toString().slice(0, 400)]);
      const refusedBothWays = direct.status !== 201 && through.body.equals(direct.body);
      if (refusedBothWays) {
        expect(through.status, what).toBe(direct.status);
      } else if (direct.status !== 201 || isListed(acting, mode)) {
        expect(through.status, what).toBe(403);
        expect(through.body.toString(), what).toMatch(/CC_(IDENTITY_REFUSED|IMPERSONATION_DENIED)/);
      } else {
        expect(identityIn(through), what).toEqual(identityIn(direct));
        same += 1;
      }
    }
    expect(same).toBeGreaterThanOrEqual(atLeast);
  });

  test.each([["HTTP/1.1", sendHttps], ...(http2 ? ([["HTTP/2", sendHttp2]] as const) : [])] as const)(
    "every method on every kind of path has the same answer as directly over %s",
    async (_version, send) => {
      const tokens = await tokensOf("editor");
      let compared = 0;
      for (const request of everyRequest()) {
        const [through, direct] = await sendBoth(proxy, tokens, request, send);
        const what = `${request.method} ${request.path} ${request.headers?.join().slice(0, 80)}`;
        expect(through.status, what).toBe(direct.status);
        // The apiserver has no verb for it, which constrained impersonation cannot name.
        if (mode === "constrained" && request.method === "OPTIONS" && through.status === 403) continue;
        expect(comparable(through), what).toEqual(comparable(direct));
        compared += 1;
      }
      expect(compared).toBeGreaterThan(150);
    },
  );
});

const PATHS = [
  "/api/v1/namespaces/shop/configmaps",
  "/api/v1/namespaces/shop/configmaps/small",
  "/api/v1/namespaces/shop/configmaps/missing",
  "/api/v1/namespaces/shop/services/web/status",
  "/api/v1/namespaces/shop/services/web/proxy/gr%C3%B6%C3%9Fe?q=%2F%2e;&&=+",
  "/api/v1/nodes/none/proxy/metrics",
  "/api/v1/namespaces/kube-system/secrets/x",
  "/apis/apps/v1/namespaces/shop/deployments/none/scale",
  "/apis/metrics.k8s.io/v1beta1/pods",
  "/version",
  "/healthz/",
  "/nothing/here%2Fat//all",
];
const READ_HEADERS: readonly (readonly string[])[] = [
  [],
  ["Accept", "application/vnd.kubernetes.protobuf", "Accept-Encoding", "gzip"],
  ["Accept", "application/json;as=Table;v=v1;g=meta.k8s.io", "Cookie", "a=b", "X-Bytes", "\xc3\xb6\xff"],
  ["Accept", "text/html", "Origin", "https://elsewhere.example", "X-Long", "x".repeat(60_000)],
];
const WRITES: readonly Pick<HttpsRequest, "method" | "headers" | "body">[] = [
  { method: "POST", headers: ["Content-Type", "application/json"], body: "{}" },
  { method: "POST", headers: ["Content-Type", "application/json"], body: "{" },
  { method: "POST", headers: ["Content-Type", "application/octet-stream"], body: "ö" },
  { method: "PUT", headers: ["Content-Type", "application/yaml"], body: "kind: ConfigMap\napiVersion: v1\n" },
  ...["json-patch+json", "merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml"].map((type) => ({
    method: "PATCH",
    headers: ["Content-Type", `application/${type}`],
    body: '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"small"},"data":{"b":"2"}}',
  })),
  { method: "PATCH", headers: ["Content-Type", "text/plain"], body: "x" },
  { method: "DELETE", headers: ["Content-Type", "application/json"], body: '{"dryRun":["All"]}' },
  { method: "DELETE" },
];

/** Nothing that is written stays written. */
function everyRequest(): readonly HttpsRequest[] {
  return PATHS.flatMap((path) => {
    const dry = `${path}${path.includes("?") ? "&" : "?"}dryRun=All&fieldManager=parity`;
    return [
      ...["GET", "HEAD", "OPTIONS"].flatMap((method) => READ_HEADERS.map((headers) => ({ method, path, headers }))),
      ...WRITES.map((write) => ({ ...write, path: dry })),
    ];
  });
}

/** Headers that belong to one request or one hop alone. */
const OWN_HEADERS: ReadonlySet<string> = new Set(["audit-id", "date", "connection", "content-length", "keep-alive"]);

function comparable({ headers, body }: HttpsAnswer): object {
  const kept = Object.entries(headers).filter(([name]) => !OWN_HEADERS.has(name) && name !== "transfer-encoding");
  const text = body
    .toString("latin1")
    .replaceAll(/"(uid|creationTimestamp|time|resourceVersion|continue)":\s*"[^"]*"/g, '"$1":""')
    .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, "")
    .replaceAll(/[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z/g, "");
  return { headers: Object.fromEntries(kept), text };
}
