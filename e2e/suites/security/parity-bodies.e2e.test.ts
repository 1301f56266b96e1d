import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createDirectWorld, type DirectProxy, type DirectWorld } from "../support/direct-proxy.ts";
import { startWithShownRole } from "../support/shown-role.ts";
import { type FramedAnswer, type FramedRequest, sendChunked, sendUnsized } from "../support/wire/framed-client.ts";
import type { HttpsTarget } from "../support/wire/https-client.ts";

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

/** Without what belongs to one request alone. */
function comparable({ status, headers, body, trailers }: FramedAnswer): FramedAnswer {
  const text = body
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
