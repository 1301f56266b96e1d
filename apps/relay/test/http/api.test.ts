import { X509Certificate } from "node:crypto";
import { request } from "node:http";
import { generateAgentKey, mintEnrollmentCode } from "@cluster-connect/auth";
import { parseClusterId } from "@cluster-connect/protocol";
import { describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { addEnrollmentCode } from "../../src/store/queries/enrollment-codes.ts";
import {
  dialAgent,
  enrollAgent,
  type Fixture,
  opsToken,
  PROD,
  pem,
  postEnroll,
  startFixture,
} from "../support/fixture.ts";

async function freshCode(fixture: Fixture, expiresInMs = 60_000): Promise<string> {
  const { code, hash } = mintEnrollmentCode();
  const expiresAt = new Date(Date.now() + expiresInMs);
  await addEnrollmentCode(fixture.store.db, { clusterId: PROD, hash, expiresAt }, new Date());
  return code;
}

const ANSWER = z.looseObject({ clusters: z.array(z.looseObject({ id: z.string() })).default([]) });

const body = (code: string, change: Record<string, unknown> = {}) => ({
  code,
  publicKey: generateAgentKey().publicKey,
  clusterAuthorities: pem("authority"),
  ...change,
});

describe("enrollment", () => {
  test("turns a code into a known key", async () => {
    const fixture = await startFixture();
    const key = generateAgentKey();
    const response = await postEnroll(fixture, body(await freshCode(fixture), { publicKey: key.publicKey }));
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ clusterId: "prod", keyId: key.keyId, relayId: fixture.store.relayId });
  });

  test("takes the code as a person may have typed it", async () => {
    const fixture = await startFixture();
    const code = await freshCode(fixture);
    expect((await postEnroll(fixture, body(`  ${code.toUpperCase()} `))).status).toBe(200);
  });

  test("with a code that is used, expired, unknown or mistyped is refused", async () => {
    const fixture = await startFixture();
    const used = await freshCode(fixture);
    await postEnroll(fixture, body(used));
    const codes = [used, await freshCode(fixture, -1), mintEnrollmentCode().code, "cc1-aaaaa", "hunter2"];
    for (const code of codes) {
      const response = await postEnroll(fixture, body(code));
      expect(response.status).toBe(403);
      const answer = await response.text();
      expect(JSON.parse(answer)).toMatchObject({ code: "CC_ENROLLMENT_CODE_INVALID", hint: expect.any(String) });
      expect(answer).not.toContain(code);
      expect(JSON.stringify(fixture.log.lines)).not.toContain(code);
    }
  });

  test.each([
    ["no object", () => [1]],
    ["a key of another kind", (code: string) => body(code, { publicKey: "AAAA" })],
    ["no authorities", (code: string) => body(code, { clusterAuthorities: "" })],
    ["a certificate that is no authority", (code: string) => body(code, { clusterAuthorities: pem("leaf") })],
    [
      "something other than certificates",
      (code: string) => body(code, { clusterAuthorities: pem("authority").replaceAll("M", "N") }),
    ],
  ])("with %s is refused, and the code is not used up", async (_name, make) => {
    const fixture = await startFixture();
    const code = await freshCode(fixture);
    const response = await postEnroll(fixture, make(code));
    expect([400, 403]).toContain(response.status);
    expect((await postEnroll(fixture, body(code))).status).toBe(200);
  });

  test("with a body that is no JSON or too large is refused without quoting it", async () => {
    const fixture = await startFixture();
    const send = (text: string) =>
      fetch(new URL("/v1/enroll", fixture.url), {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: text,
      });
    for (const text of ["hunter2", `"${"x".repeat(100_000)}"`]) {
      const response = await send(text);
      expect(response.status).toBe(400);
      expect(await response.json()).toMatchObject({
        code: "CC_REQUEST_REFUSED",
        message: "The request's body is too large or not JSON",
      });
    }
  });
});

describe("the list of clusters", () => {
  const list = async (fixture: Fixture, token: string) => {
    const response = await fetch(new URL("/v1/clusters", fixture.url), {
      headers: { authorization: `Bearer ${token}` },
    });
    return { status: response.status, headers: response.headers, body: ANSWER.parse(await response.json()) };
  };

  test("shows state, agents and what to trust", async () => {
    const fixture = await startFixture();
    const agent = await enrollAgent(fixture);
    await (await dialAgent(fixture, agent)).ready;
    await vi.waitUntil(() => fixture.relay.registry.view(PROD).state === "connected", { timeout: 30_000 });
    const { status, body: answer } = await list(fixture, await opsToken(fixture));
    expect(status).toBe(200);
    expect(answer).toEqual({
      clusters: [
        {
          id: "prod",
          status: "connected",
          since: expect.stringMatching(/^\d{4}-.*Z$/),
          lastSeenAt: expect.stringMatching(/^\d{4}-.*Z$/),
          lastSeenSeconds: 0,
          reason: null,
          agents: [{ instanceId: agent.instanceId, since: expect.any(String) }],
          certificateAuthorities: pem("authority"),
          authoritySignatures: null,
          fingerprint: new X509Certificate(pem("authority")).fingerprint256,
          pendingFingerprint: null,
          pendingUid: null,
          serverName: "prod.clusters.cluster-connect.internal",
        },
      ],
    });
  });

  test("shows a cluster without an agent as offline, and since when", async () => {
    const fixture = await startFixture();
    const agent = await enrollAgent(fixture);
    expect((await list(fixture, await opsToken(fixture))).body.clusters[0]).toMatchObject({
      status: "offline",
      lastSeenAt: null,
    });
    const session = await dialAgent(fixture, agent);
    await session.ready;
    session.close();
    await fixture.log.once("tunnel.closed");
    await fixture.stop();
    const after = await startFixture({ after: fixture });
    expect((await list(after, await opsToken(after))).body.clusters[0]).toMatchObject({
      status: "offline",
      agents: [],
      lastSeenAt: expect.any(String),
      lastSeenSeconds: expect.any(Number),
    });
  });

  test("holds only what the caller was granted, until the grant ends", async () => {
    const fixture = await startFixture({
      grants: [
        { clusters: ["prod"], users: ["jane"] },
        { clusters: ["test"], groups: ["ops"], expiresAt: new Date(Date.now() - 1) },
      ],
    });
    await enrollAgent(fixture);
    await enrollAgent(fixture, parseClusterId("test"));
    const ids = async (claims: Record<string, unknown>) =>
      (await list(fixture, await opsToken(fixture, claims))).body.clusters.map(({ id }) => id);
    expect(await ids({ sub: "jane" })).toEqual(["prod"]);
    expect(await ids({ sub: "joe" })).toEqual([]);
  });

  test("asks for a token for the relay", async () => {
    const fixture = await startFixture();
    const { status, headers, body: answer } = await list(fixture, await opsToken(fixture, { aud: "cluster" }));
    expect(status).toBe(401);
    expect(headers.get("www-authenticate")).toBe("Bearer");
    expect(answer).toMatchObject({ code: "CC_TOKEN_AUDIENCE" });
    expect((await fetch(new URL("/v1/clusters", fixture.url))).status).toBe(401);
  });

  test("says when the issuer cannot be reached, and to try again", async () => {
    const fixture = await startFixture();
    const token = await opsToken(fixture);
    await fixture.issuer.stop();
    const { status, headers, body: answer } = await list(fixture, token);
    expect(status).toBe(503);
    expect(Number(headers.get("retry-after"))).toBeGreaterThan(0);
    expect(answer).toMatchObject({ code: "CC_ISSUER_UNREACHABLE" });
  });
});

test("what a CLI needs to sign in is public", async () => {
  const login = {
    issuer: "https://login.example.com",
    clientId: "cli",
    scopes: ["openid"],
    audiences: { relay: "r", cluster: "c" },
    resourceParameter: "resource",
  } as const;
  const fixture = await startFixture({ config: { login } });
  const response = await fetch(new URL("/.well-known/cluster-connect", fixture.url));
  expect(await response.json()).toEqual({ relayId: fixture.store.relayId, software: "relay/test", login });
});

test("health, readiness and metrics are served", async () => {
  const fixture = await startFixture();
  const get = (path: string) => fetch(new URL(path, fixture.url));
  expect(await (await get("/healthz")).text()).toBe("ok");
  expect((await get("/readyz")).status).toBe(200);
  await fixture.issuer.stop();
  expect((await get("/readyz")).status).toBe(200);
  const metrics = await (await get("/metrics")).text();
  expect(metrics).toContain('cluster_connect_tunnels{service="relay"} 0');
});

test.each(["x-forwarded-for", "x-real-ip", "forwarded", "via"])(
  "metrics are not there for who comes through a proxy: %s",
  async (name) => {
    const { url } = await startFixture();
    const response = await fetch(new URL("/metrics", url), { headers: { [name]: "203.0.113.7" } });
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({ code: "CC_REQUEST_REFUSED" });
  },
);

test("a relay that has never reached an issuer is not ready", async () => {
  const fixture = await startFixture();
  await fixture.issuer.stop();
  const response = await fetch(new URL("/readyz", fixture.url));
  expect(response.status).toBe(503);
  expect(await response.json()).toMatchObject({
    checks: [
      { name: "store", ok: true },
      { name: "issuers", ok: false },
    ],
  });
});

test("another route and another method are not found", async () => {
  const fixture = await startFixture();
  expect((await fetch(new URL("/v1/secrets", fixture.url))).status).toBe(404);
  expect((await fetch(new URL("/v1/clusters", fixture.url), { method: "DELETE" })).status).toBe(404);
});

test("an offer of another protocol is served as the plain request it also is", async () => {
  const fixture = await startFixture();
  const status = await new Promise((resolve) => {
    request(new URL("/healthz", fixture.url), { headers: { connection: "Upgrade", upgrade: "h2c" } }, (response) => {
      response.resume();
      resolve(response.statusCode);
    }).end();
  });
  expect(status).toBe(200);
});
