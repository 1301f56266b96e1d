import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRemoteJWKSet, decodeJwt, jwtVerify } from "jose";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { type Keeper, startKeeper } from "../../src/process/keeper.ts";
import { signIn } from "../../src/stack/browser.ts";
import {
  CLI_CLIENT_ID,
  CLUSTER_AUDIENCE,
  type Issuer,
  MACHINE_CLIENT_ID,
  RELAY_AUDIENCE,
  startIssuer,
} from "../../src/stack/issuer.ts";

const signal = AbortSignal.timeout(50_000);
let keeper: Keeper;
let issuer: Issuer;

beforeAll(async () => {
  keeper = await startKeeper();
  const folder = await mkdtemp(join(tmpdir(), "cluster-connect-test-"));
  keeper.ownFolder(folder);
  issuer = await startIssuer({ folder, signal }, { keeper });
});

afterAll(() => keeper?.stop());

type Answer = Readonly<Record<string, unknown>>;

async function post(path: string, fields: Readonly<Record<string, string>>): Promise<{ status: number; body: Answer }> {
  const response = await fetch(`${issuer.url}${path}`, { method: "POST", body: new URLSearchParams(fields), signal });
  return { status: response.status, body: JSON.parse(await response.text()) };
}

const tokenOf = (body: Answer): Answer => decodeJwt(String(body["access_token"]));

/** A CLI's loopback listener: resolves with the query it is called with. */
async function loopback(): Promise<{ readonly redirectUri: string; readonly called: Promise<URLSearchParams> }> {
  const called = Promise.withResolvers<URLSearchParams>();
  const listener = createServer((request, response) => {
    called.resolve(new URL(request.url ?? "", "http://127.0.0.1").searchParams);
    response.end("You can close this window.");
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  onTestFinished(() => {
    listener.close();
  });
  const address = listener.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return { redirectUri: `http://127.0.0.1:${port}/callback`, called: called.promise };
}

async function signInByCode(user: string): Promise<Answer> {
  const { redirectUri, called } = await loopback();
  const verifier = randomBytes(32).toString("base64url");
  const request = new URLSearchParams({
    client_id: CLI_CLIENT_ID,
    response_type: "code",
    scope: "openid offline_access",
    redirect_uri: redirectUri,
    code_challenge: createHash("sha256").update(verifier).digest("base64url"),
    code_challenge_method: "S256",
    state: "state",
  });
  for (const audience of [RELAY_AUDIENCE, CLUSTER_AUDIENCE]) request.append("resource", audience);
  const page = await signIn(`${issuer.url}/auth?${request}`, user, { signal }, { fetch });
  expect(page.body).toBe("You can close this window.");
  const query = await called;
  expect(query.get("state")).toBe("state");
  const { status, body } = await post("/token", {
    grant_type: "authorization_code",
    client_id: CLI_CLIENT_ID,
    code: query.get("code") ?? "",
    code_verifier: verifier,
    redirect_uri: redirectUri,
    resource: RELAY_AUDIENCE,
  });
  expect({ status, error: body["error_description"] }).toEqual({ status: 200, error: undefined });
  return body;
}

test("a code with PKCE becomes a JWT for the relay, and a refresh one for the cluster", async () => {
  const first = await signInByCode("admin");
  expect(tokenOf(first)).toMatchObject({
    iss: issuer.url,
    sub: "admin",
    aud: RELAY_AUDIENCE,
    groups: ["admins", "viewers"],
  });
  const { body } = await post("/token", {
    grant_type: "refresh_token",
    client_id: CLI_CLIENT_ID,
    refresh_token: String(first["refresh_token"]),
    resource: CLUSTER_AUDIENCE,
  });
  expect(tokenOf(body)).toMatchObject({ sub: "admin", aud: CLUSTER_AUDIENCE, email: "admin@cluster-connect.test" });
});

test("the discovery document names the keys that the tokens are signed with", async () => {
  const response = await fetch(`${issuer.url}/.well-known/openid-configuration`, { signal });
  const discovery: Answer = JSON.parse(await response.text());
  expect(discovery).toMatchObject({ issuer: issuer.url, device_authorization_endpoint: expect.any(String) });
  const keys = createRemoteJWKSet(new URL(String(discovery["jwks_uri"])));
  const { body } = await post("/token", {
    grant_type: "client_credentials",
    client_id: MACHINE_CLIENT_ID,
    client_secret: issuer.machineSecret,
    resource: CLUSTER_AUDIENCE,
  });
  const verified = await jwtVerify(String(body["access_token"]), keys, {
    issuer: issuer.url,
    audience: CLUSTER_AUDIENCE,
  });
  expect(verified.payload.sub).toBe(MACHINE_CLIENT_ID);
  await jwtVerify(await issuer.sign({ sub: "anyone" }), keys);
});

test("a device code is pending until a person has signed in elsewhere", async () => {
  const { body: device } = await post("/device/auth", {
    client_id: CLI_CLIENT_ID,
    scope: "openid offline_access",
    resource: CLUSTER_AUDIENCE,
  });
  const redeem = (): Promise<{ status: number; body: Answer }> =>
    post("/token", {
      grant_type: "urn:ietf:params:oauth:grant-type:device_code",
      client_id: CLI_CLIENT_ID,
      device_code: String(device["device_code"]),
      resource: CLUSTER_AUDIENCE,
    });
  expect((await redeem()).body).toMatchObject({ error: "authorization_pending" });
  await signIn(String(device["verification_uri_complete"]), "viewer", { signal }, { fetch });
  const { body } = await redeem();
  expect(tokenOf(body)).toMatchObject({ sub: "viewer", aud: CLUSTER_AUDIENCE, groups: ["viewers"] });
});

test("a user that does not exist cannot sign in", async () => {
  await expect(signInByCode("nobody")).rejects.toMatchObject({ code: "CC_LOGIN_FAILED" });
});

test("an audience that does not exist gets no token", async () => {
  const { status, body } = await post("/token", {
    grant_type: "client_credentials",
    client_id: MACHINE_CLIENT_ID,
    client_secret: issuer.machineSecret,
    resource: "https://elsewhere.test",
  });
  expect({ status, error: body["error"] }).toEqual({ status: 400, error: "invalid_target" });
});
