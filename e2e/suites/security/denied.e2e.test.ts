import { decodeJwt, generateKeyPair, SignJWT, UnsecuredJWT } from "jose";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Cli, LocalProxy } from "../../src/stack/cli.ts";
import { CLUSTER_AUDIENCE, RELAY_AUDIENCE } from "../../src/stack/issuer.ts";
import { addClusters } from "../support/relays/more-clusters.ts";
import { useStack } from "../support/stack.ts";
import { curlInsecure } from "../support/wire/local-request.ts";

/** Two clusters, each with an audience of its own. */
const NAMES = ["demo", "second"];
const suite = useStack(async () => ({ ownAudiences: NAMES }));
let removeClusters: () => Promise<void> = async () => {};
let cli: Cli;
/** Of the person `viewer`. */
const proxies = new Map<string, LocalProxy>();

beforeAll(async () => {
  const more = await addClusters(suite(), ["second"]);
  removeClusters = more.remove;
  cli = await suite().stack.cli("viewer", more.authorities);
  await cli.login("viewer", "browser", NAMES);
  for (const name of NAMES) proxies.set(name, await cli.proxy([name]));
});

afterAll(async () => {
  await removeClusters();
});

const portOf = (name: string): number => proxies.get(name)?.port ?? 0;
const audienceOf = (name: string): string => `${CLUSTER_AUDIENCE}/${name}`;

const MINUTE = 60;

function claims(changes: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  const now = Math.floor(Date.now() / 1_000);
  return {
    iss: suite().stack.issuer.url,
    aud: audienceOf("demo"),
    sub: "viewer",
    preferred_username: "viewer",
    groups: ["viewers"],
    iat: now - MINUTE,
    exp: now + 10 * MINUTE,
    ...changes,
  };
}

/** The message of the 401 that this token gets. */
async function refusal(token: string | undefined, name = "demo"): Promise<string> {
  const answer = await curlInsecure(portOf(name), "/api/v1/namespaces", token);
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
  const token = await suite().stack.issuer.sign(claims());
  const answer = await curlInsecure(portOf("demo"), "/api/v1/namespaces", token);
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

test("a token for cluster A at cluster B, and one for B at A", async () => {
  for (const [own, other] of [NAMES, NAMES.toReversed()]) {
    const token = await suite().stack.issuer.sign(claims({ aud: audienceOf(own ?? "") }));
    const taken = await curlInsecure(portOf(own ?? ""), "/api/v1/namespaces", token);
    expect(taken.status).toBe(200);
    expect(await refusal(token, other)).toMatch(/audience .*CC_TOKEN_AUDIENCE/);
  }
});

test("the audience of all clusters, as it is in the settings", async () => {
  for (const aud of [CLUSTER_AUDIENCE, audienceOf("{cluster}")]) {
    expect(await refusal(await suite().stack.issuer.sign(claims({ aud })))).toMatch(/audience/i);
  }
});

test("what the CLI gets for one cluster is refused at the other", async () => {
  for (const [own, other] of [NAMES, NAMES.toReversed()]) {
    const printed = await cli.run(["credential", "--relay", suite().stack.relay.url, "-n", own ?? ""]);
    expect([printed.code, printed.stderr]).toEqual([0, ""]);
    const { token } = JSON.parse(printed.stdout).status;
    expect(decodeJwt(token).aud).toBe(audienceOf(own ?? ""));
    expect((await curlInsecure(portOf(own ?? ""), "/api/v1/namespaces", token)).status).toBe(200);
    expect(await refusal(token, other)).toMatch(/audience/i);
  }
  const both = await cli.run([
    "run",
    "-n",
    "demo",
    "-n",
    "second",
    "--",
    "kubectl",
    "auth",
    "whoami",
    "--context",
    "second",
  ]);
  expect([both.code, both.stderr]).toEqual([0, ""]);
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
