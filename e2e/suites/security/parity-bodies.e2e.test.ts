import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createDirectWorld, type DirectProxy, type DirectWorld } from "../support/direct-proxy.ts";
import { startWithShownRole } from "../support/shown-role.ts";
import {
  askUpgrade,
  type FramedAnswer,
  type FramedRequest,
  sendChunked,
  sendUnsized,
  type UpgradeRequest,
} from "../support/wire/framed-client.ts";
import type { HttpsTarget } from "../support/wire/https-client.ts";
import { ownAddress, type ShownApp, startShownApp } from "../support/wire/shown-app.ts";

const AUDIENCE = "cluster-connect";

let world: DirectWorld;
let proxy: DirectProxy;
let apiserver: HttpsTarget;
let tokens: { readonly through: string; readonly direct: string };

beforeAll(async () => {
  world = await createDirectWorld();
  apiserver = { url: world.cluster.apiserverUrl, ca: world.cluster.caPem };
  await world.kubectl(["apply", "-f", "-"], JSON.stringify(objects()));
  proxy = await startWithShownRole(world, { http2: true, tokenReview: { enabled: true, audiences: [AUDIENCE] } });
  const token = async (...flags: readonly string[]): Promise<string> =>
    (await world.kubectl(["create", "token", "editor", "-n", "shop", ...flags])).trim();
  tokens = { through: await token(`--audience=${AUDIENCE}`), direct: await token() };
});
afterAll(async () => {
  await proxy?.[Symbol.asyncDispose]();
  await world?.[Symbol.asyncDispose]();
});

function objects(): object {
  return {
    apiVersion: "v1",
    kind: "List",
    items: [
      { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } },
      { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "editor", namespace: "shop" } },
      { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "small", namespace: "shop" }, data: { a: "1" } },
      {
        apiVersion: "rbac.authorization.k8s.io/v1",
        kind: "ClusterRoleBinding",
        metadata: { name: "streams" },
        roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "edit" },
        subjects: [{ kind: "ServiceAccount", namespace: "shop", name: "editor" }],
      },
    ],
  };
}

const withToken = <T extends { readonly headers: readonly string[] }>(request: T, token: string): T => ({
  ...request,
  headers: ["Authorization", `Bearer ${token}`, ...request.headers],
});

async function askBoth<T extends { readonly headers: readonly string[] }>(
  send: (target: HttpsTarget, request: T) => Promise<FramedAnswer>,
  request: T,
): Promise<readonly [through: FramedAnswer, direct: FramedAnswer]> {
  const [through, direct] = await Promise.all([
    send(proxy.target, withToken(request, tokens.through)),
    send(apiserver, withToken(request, tokens.direct)),
  ]);
  return [comparable(through), comparable(direct)];
}

/** Without what belongs to one request alone, and what docs/differences.md says of forwarding headers. */
function comparable({ status, headers, body, trailers }: FramedAnswer): FramedAnswer {
  const text = body
    .replaceAll(/"(x-forwarded-[a-z]+|audit-id|host|transfer-encoding|content-length): [^"]*",?/g, "")
    .replaceAll('"connection: upgrade"', '"connection: Upgrade"')
    .replaceAll(/"(uid|creationTimestamp|time|resourceVersion|managedFields)":\s*("[^"]*"|\[.*?\])/g, '"$1":""')
    .replaceAll(/[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z/g, "");
  return { status, headers: headers.filter((line) => !line.startsWith("audit-id: ")), body: text, trailers };
}

const PATHS = ["/api/v1/namespaces/shop/configmaps", "/api/v1/namespaces/shop/configmaps/small", "/version"];
const JSON_TYPE = ["Content-Type", "application/json", "X-Ask", "1"];
const OBJECT = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"small"},"data":{"b":"2"}}';
const BODIES: readonly Pick<FramedRequest, "pieces" | "trailers">[] = [
  { pieces: [], trailers: [] },
  { pieces: [OBJECT], trailers: [] },
  { pieces: [...OBJECT], trailers: ["X-Ask-Sum", "7"] },
  { pieces: ["{", "x".repeat(100_000)], trailers: ["X-Ask-A", "1", "X-Ask-B", "2"] },
];

/** Nothing that is written stays written. */
function everyBody(): readonly FramedRequest[] {
  return PATHS.flatMap((path) =>
    ["POST", "PUT", "PATCH", "DELETE"].flatMap((method) =>
      BODIES.map((body) => ({
        ...body,
        method,
        path: `${path}${path.includes("?") ? "&" : "?"}dryRun=All`,
        headers: method === "PATCH" ? ["Content-Type", "application/merge-patch+json"] : JSON_TYPE,
      })),
    ),
  );
}

describe.each([
  ["HTTP/1.1", sendChunked],
  ["HTTP/2", sendUnsized],
] as const)("over %s", (_version, send) => {
  test("bodies without a length, with and without trailers, get the same answer as directly", async () => {
    let taken = 0;
    for (const request of everyBody()) {
      const [through, direct] = await askBoth(send, request);
      const what = `${request.method} ${request.path} ${request.pieces.length} ${request.trailers.join()}`;
      expect(through, what).toEqual(direct);
      if (through.status < 300) taken += 1;
    }
    expect(taken).toBe(6);
  });
});

const PODS = "/api/v1/namespaces/shop/pods";
const APP_PATHS = ["/", "/a%2Fb/c?x=%20&y=%C3%A4&y", "/;v=1,2/~x?dry=no", "/teapot"];
const APP_HEADERS = ["Cookie", "a=1; b=2", "TE", "trailers", "Accept-Encoding", "identity", "X-App-Ask", "1, 2"];

function everyAppRequest(at: string): readonly FramedRequest[] {
  return APP_PATHS.flatMap((path) =>
    ["POST", "PUT", "PATCH", "DELETE"].flatMap((method) =>
      BODIES.map((body) => ({ ...body, method, path: `${at}${path}`, headers: APP_HEADERS })),
    ),
  );
}

const SOCKET = ["Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="];
const UPGRADES: readonly UpgradeRequest[] = [
  { path: "/a%2Fb?x=1", headers: ["Upgrade", "websocket", "Connection", "Upgrade", ...SOCKET], said: "hello" },
  {
    path: "/chosen",
    headers: [
      "Connection",
      "upgrade",
      "Upgrade",
      "WebSocket",
      ...SOCKET,
      "Sec-WebSocket-Protocol",
      "b, a",
      "Cookie",
      "c=1",
    ],
    said: "\u0000\u00ff".repeat(50_000),
  },
  { path: "/spdy", headers: ["Connection", "Upgrade", "Upgrade", "SPDY/3.1"], said: "hello" },
  { path: "/refused", headers: ["Connection", "Upgrade", "Upgrade", "websocket", ...SOCKET], said: "" },
];

const address = ownAddress();

// The kube-apiserver passes nothing to loopback.
describe.skipIf(address === undefined)("an application of a pod", () => {
  let app: ShownApp;
  let at: string;

  beforeAll(async () => {
    app = await startShownApp(address ?? "");
    at = `${PODS}/http:app:${app.port}/proxy`;
    await tellPod(app);
  });
  afterAll(async () => await app?.[Symbol.asyncDispose]());

  test.each([
    ["HTTP/1.1", sendChunked],
    ["HTTP/2", sendUnsized],
  ] as const)("over %s hears what it hears directly, and answers the same, to the trailers", async (_version, send) => {
    let answered = 0;
    for (const request of everyAppRequest(at)) {
      const [through, direct] = await askBoth(send, request);
      expect(through, `${request.method} ${request.path} ${request.pieces.length}`).toEqual(direct);
      if (direct.body.includes('"method"')) answered += 1;
    }
    expect(answered).toBe(APP_PATHS.length * 4 * BODIES.length);
  });

  test.each(UPGRADES)("answers an upgrade as directly: $path $headers.1 $headers.3", async (request) => {
    const [through, direct] = await askBoth(askUpgrade, { ...request, path: `${at}${request.path}` });
    expect(through).toEqual(direct);
    expect(direct.status, direct.body).toBe(request.said === "" ? 403 : 101);
    expect(direct.body.endsWith(request.said)).toBe(true);
  });
});

/** A pod that no node runs: its address is told to the kube-apiserver, which passes requests on to it. */
async function tellPod({ address }: ShownApp): Promise<void> {
  const spec = { serviceAccountName: "editor", containers: [{ name: "app", image: "app" }] };
  const pod = { apiVersion: "v1", kind: "Pod", metadata: { name: "app", namespace: "shop" }, spec };
  await world.kubectl(["apply", "-f", "-"], JSON.stringify(pod));
  const status = JSON.stringify({ status: { podIP: address, podIPs: [{ ip: address }] } });
  await world.kubectl(["patch", "pod", "app", "-n", "shop", "--subresource=status", "--type=merge", "-p", status]);
}
