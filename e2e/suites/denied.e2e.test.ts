import { generateKeyPair, SignJWT, UnsecuredJWT } from "jose";
import { beforeAll, expect, test } from "vitest";
import { CLUSTER_AUDIENCE, RELAY_AUDIENCE } from "../src/stack/issuer.ts";
import { curlInsecure } from "./support/local-request.ts";
import { type Person, useStack } from "./support/stack.ts";

const suite = useStack();
let viewer: Person;

beforeAll(async () => {
  viewer = await suite().signIn("viewer");
});

const MINUTE = 60;

function claims(changes: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  const now = Math.floor(Date.now() / 1_000);
  return {
    iss: suite().stack.issuer.url,
    aud: CLUSTER_AUDIENCE,
    sub: "viewer",
    preferred_username: "viewer",
    groups: ["viewers"],
    iat: now - MINUTE,
    exp: now + 10 * MINUTE,
    ...changes,
  };
}

/** The message of the 401 that this token gets. */
async function refusal(token: string | undefined): Promise<string> {
  const answer = await curlInsecure(viewer.proxy.port, "/api/v1/namespaces", token);
  const text = answer.body.toString("utf8");
  if (token !== undefined) expect(text).not.toContain(token);
  const status: unknown = JSON.parse(text);
  expect(answer.status).toBe(401);
  expect(status).toMatchObject({
    kind: "Status",
    apiVersion: "v1",
    status: "Failure",
    reason: "Unauthorized",
    code: 401,
  });
  return typeof status === "object" && status !== null && "message" in status ? String(status.message) : "";
}

test("a token that the issuer signed for the cluster is accepted", async () => {
  const answer = await curlInsecure(viewer.proxy.port, "/api/v1/namespaces", await suite().stack.issuer.sign(claims()));
  expect(answer.status).toBe(200);
});

test("no token", async () => {
  expect(await refusal(undefined)).toMatch(/token/i);
});

test("a token of another issuer", async () => {
  const { privateKey } = await generateKeyPair("ES256");
  const token = await new SignJWT(claims({ iss: "https://other.example" }))
    .setProtectedHeader({ alg: "ES256" })
    .sign(privateKey);
  expect(await refusal(token)).toMatch(/issuer/i);
});

test("a token for another audience", async () => {
  expect(await refusal(await suite().stack.issuer.sign(claims({ aud: "https://other.example" })))).toMatch(/audience/i);
});

test("the relay's token", async () => {
  expect(await refusal(await suite().stack.issuer.sign(claims({ aud: RELAY_AUDIENCE })))).toMatch(/audience/i);
});

test("an expired token", async () => {
  const past = Math.floor(Date.now() / 1_000) - 10 * MINUTE;
  expect(await refusal(await suite().stack.issuer.sign(claims({ exp: past })))).toMatch(/expired/i);
});

test("a token with a changed claim", async () => {
  const [header = "", , signature = ""] = (await suite().stack.issuer.sign(claims())).split(".");
  const payload = Buffer.from(JSON.stringify(claims({ groups: ["admins"] }))).toString("base64url");
  expect(await refusal([header, payload, signature].join("."))).toMatch(/signature/i);
});

test("a token signed by another key under the issuer's name", async () => {
  const { privateKey } = await generateKeyPair("ES256");
  const token = await new SignJWT(claims()).setProtectedHeader({ alg: "ES256" }).sign(privateKey);
  expect(await refusal(token)).toMatch(/signature|key/i);
});

test("a token with alg none", async () => {
  expect(await refusal(new UnsecuredJWT(claims()).encode())).toMatch(/algorithm|alg|signature/i);
});

test("something that is no token", async () => {
  expect(await refusal("nonsense")).toMatch(/token/i);
});

test("a person without a grant sees no cluster and gets no way to one", async () => {
  const stranger = await suite().stack.cli("stranger");
  await stranger.login("stranger", "device");
  const listed = await stranger.run(["clusters", "--output", "json"]);
  expect(listed.code).toBe(0);
  expect(listed.stdout).not.toContain("demo");
  const tried = await stranger.run(["run", "-n", "demo", "--", "true"]);
  expect(tried.code).not.toBe(0);
  expect(tried.stderr).toMatch(/^error: .*demo/);
});
