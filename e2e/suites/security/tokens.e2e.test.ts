import { createHmac } from "node:crypto";
import { startTestIssuer, type TestIssuer } from "@cluster-connect/auth/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createDirectWorld, type DirectProxy, type DirectWorld } from "../support/direct-proxy.ts";
import { sendHttps } from "../support/wire/https-client.ts";

let world: DirectWorld;
let proxy: DirectProxy;
let stranger: TestIssuer;
beforeAll(async () => {
  world = await createDirectWorld();
  await world.setRole("constrained");
  proxy = await world.start();
  stranger = await startTestIssuer();
});
afterAll(async () => {
  await stranger?.[Symbol.asyncDispose]();
  await world?.[Symbol.asyncDispose]();
});

const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
const inSeconds = (seconds: number): number => Math.floor(Date.now() / 1_000) + seconds;

/** The good token's claims under another header, and a signature made with what is public. */
async function resigned(alg: "none" | "HS256"): Promise<string> {
  const [, claims = ""] = (await world.token("mallory")).split(".");
  const [publicKey = {}] = world.issuer.publicKeys();
  const signed = `${part({ alg, kid: publicKey["kid"] })}.${claims}`;
  if (alg === "none") return `${signed}.`;
  return `${signed}.${createHmac("sha256", JSON.stringify(publicKey)).update(signed).digest("base64url")}`;
}

async function tampered(): Promise<string> {
  const [head, , signature] = (await world.token("mallory")).split(".");
  const claims = part({ iss: world.issuer.url, aud: "https://cluster.example", sub: "root", exp: inSeconds(600) });
  return [head, claims, signature].join(".");
}

const BAD: Readonly<Record<string, readonly [token: () => Promise<string>, code: string, words: RegExp]>> = {
  "of another issuer": [() => stranger.sign({ aud: "https://cluster.example" }), "CC_TOKEN_ISSUER", /issuer \(iss\)/],
  "that claims our issuer and is signed by another": [
    () => stranger.sign({ aud: "https://cluster.example", iss: world.issuer.url }),
    "CC_TOKEN_INVALID",
    /key|signature/,
  ],
  "for the relay": [() => world.token("mallory", [], { aud: "https://relay.example" }), "CC_TOKEN_AUDIENCE", /\(aud\)/],
  expired: [() => world.token("mallory", [], { exp: inSeconds(-120) }), "CC_TOKEN_EXPIRED", /\(exp\)/],
  "not yet valid": [() => world.token("mallory", [], { nbf: inSeconds(600) }), "CC_TOKEN_INVALID", /\(nbf\)/],
  tampered: [tampered, "CC_TOKEN_INVALID", /signature/],
  "with alg none": [() => resigned("none"), "CC_TOKEN_INVALID", /alg|form|signature/],
  "with HS256 and the public key": [() => resigned("HS256"), "CC_TOKEN_INVALID", /alg/],
  "without an end": [() => world.token("mallory", [], { exp: undefined }), "CC_TOKEN_INVALID", /\(exp\)/],
  "that is none": [async () => "abc", "CC_TOKEN_INVALID", /./],
};

describe.each(["an ordinary request", "an upgrade"])("on %s", (way) => {
  const upgrade = way === "an upgrade" ? ["Connection", "Upgrade", "Upgrade", "websocket"] : [];

  test.each(Object.entries(BAD))(
    "a token %s is a 401 that names the check and shows nothing of it",
    async (_name, bad) => {
      const [make, code, words] = bad;
      const token = await make();
      const headers = ["Authorization", `Bearer ${token}`, ...upgrade];
      const answer = await sendHttps(proxy.target, { path: "/version", headers });
      expect(answer.status).toBe(401);
      expect(answer.headers["www-authenticate"]).toBe("Bearer");
      const text = answer.body.toString();
      const status = JSON.parse(text);
      expect(status).toMatchObject({
        kind: "Status",
        apiVersion: "v1",
        status: "Failure",
        reason: "Unauthorized",
        code: 401,
      });
      expect(status.message).toMatch(words);
      expect(status.message).toContain(code);
      for (const piece of token.split(".").filter(({ length }) => length > 8)) expect(text).not.toContain(piece);
      expect(text).not.toContain("mallory");
    },
  );

  test.each([
    ["no token", []],
    ["a password", ["Authorization", "Basic YTpi"]],
    ["an empty token", ["Authorization", "Bearer "]],
  ])("%s is a 401", async (_name, headers) => {
    const answer = await sendHttps(proxy.target, { path: "/version", headers: [...headers, ...upgrade] });
    expect(answer.status).toBe(401);
    expect(JSON.parse(answer.body.toString())).toMatchObject({ kind: "Status", code: 401 });
  });
});

test("none of them was ever seen by the apiserver", async () => {
  const good = await world.token("witness");
  const answer = await sendHttps(proxy.target, { path: "/version", headers: ["Authorization", `Bearer ${good}`] });
  expect(answer.status).toBe(200);
  const last = String(answer.headers["audit-id"]);
  const impersonated: string[] = [];
  for await (const event of world.cluster.auditEvents({ signal: AbortSignal.timeout(60_000) })) {
    if (event.impersonatedUsername !== undefined) impersonated.push(event.impersonatedUsername);
    if (event.auditId === last) break;
  }
  expect(impersonated).toEqual(["demo:witness"]);
});

test("groups that the issuer's filter leaves out do not reach the apiserver", async () => {
  await using filtered = await world.start({ issuers: { [world.issuer.url]: { groups: ["demo:team-*"] } } });
  const token = await world.token("mallory", ["team-a", "other"]);
  const path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
  const body = '{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}';
  const headers = ["Authorization", `Bearer ${token}`, "Content-Type", "application/json"];
  const answer = await sendHttps(filtered.target, { path, method: "POST", headers, body });
  expect(JSON.parse(answer.body.toString()).status.userInfo.groups).toEqual(["demo:team-a", "system:authenticated"]);
});

test("a watch ends within 5 s of its caller's token, and kubectl says why", async () => {
  await world.kubectl(["create", "clusterrolebinding", "watcher", "--clusterrole=view", "--user=demo:watcher"]);
  // Long enough for kubectl to begin on a busy machine, which also gets three times as long for the end.
  const exp = inSeconds(10);
  const token = await world.token("watcher", [], { exp });
  const result = await world.kubectlAt(proxy, token, ["get", "configmaps", "-A", "--watch"]);
  expect(Date.now()).toBeLessThan((exp + 15) * 1_000);
  expect(result.stdout).toContain("kube-root-ca.crt");
  expect(result.stdout).toContain("CC_TOKEN_EXPIRED");
});
