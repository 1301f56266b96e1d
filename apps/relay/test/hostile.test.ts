import { once } from "node:events";
import { request } from "node:http";
import { type Clock, SYSTEM_CLOCK } from "@cluster-connect/base";
import { expect, onTestFinished, test, vi } from "vitest";
import { GRANT_SCHEMA } from "../src/grants/grant.ts";
import { ask } from "./support/admin.ts";
import { dialAgent, enrollAgent, type Fixture, opsToken, pem, postEnroll, startFixture } from "./support/fixture.ts";

const eventsOf = async ({ store }: Fixture, event: string) =>
  await store.db.selectFrom("audit").selectAll().where("event", "=", event).execute();

test("who is not let in by a request is in the audit, a flood of them in one entry", async () => {
  const fixture = await startFixture();
  const forged = { code: "cc1-forged", publicKey: "x", clusterAuthorities: "x" };
  const agent = await enrollAgent(fixture);
  const body = { ...forged, publicKey: agent.key.publicKey, clusterAuthorities: pem("authority") };
  for (let count = 0; count < 5; count += 1) expect((await postEnroll(fixture, body)).status).toBe(403);
  expect((await ask(fixture, "GET", "/v1/admin/audit", { as: "jane" })).status).toBe(403);
  expect((await ask(fixture, "GET", "/v1/admin/audit", { as: undefined })).status).toBe(401);
  await vi.waitUntil(async () => (await eventsOf(fixture, "request.refused")).length >= 3, { timeout: 30_000 });
  const details = (await eventsOf(fixture, "request.refused")).map(({ detail }) => JSON.parse(detail));
  expect(details).toContainEqual({ route: "/v1/admin/audit", code: "CC_ADMIN_REQUIRED", address: "127.0.0.1" });
  const enrollments = details.filter(({ route }) => route === "/v1/enroll");
  expect(enrollments.reduce((sum, { count = 1 }) => sum + count, 0)).toBe(5);
  expect(JSON.stringify(details)).not.toContain("cc1-forged");
});

test("requests without a token that ask the store come no faster than is good for the others", async () => {
  const clock: Clock = { ...SYSTEM_CLOCK, now: () => 1_800_000_000_000 };
  const fixture = await startFixture({ clock });
  const forged = { code: "x", publicKey: "x", clusterAuthorities: "x" };
  const ask = async (path: string) =>
    await fetch(new URL(path, fixture.url), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(forged),
    });
  const statuses = new Set<number>();
  for (let count = 0; count < 100; count += 1) statuses.add((await ask("/v1/enroll")).status);
  expect([...statuses]).not.toContain(429);
  const refused = await ask("/v1/agent/keys");
  expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "1"]);
  expect((await fetch(new URL("/readyz", fixture.url))).status).toBe(200);
});

test("paths that somebody makes up for upgrades are one entry of the audit", async () => {
  const fixture = await startFixture();
  const headers = { connection: "Upgrade", upgrade: "websocket" };
  for (let count = 0; count < 5; count += 1) {
    const sent = request(new URL(`/made-up/${count}`, fixture.url), { headers }).end();
    const [response] = await once(sent, "response");
    expect(response.resume().statusCode).toBe(400);
  }
  const refused = async () => (await eventsOf(fixture, "session.refused")).map(({ detail }) => JSON.parse(detail));
  const countOf = (entries: readonly { readonly count?: number }[]) =>
    entries.reduce((sum, { count = 1 }) => sum + count, 0);
  await vi.waitUntil(async () => countOf(await refused()) === 5, { timeout: 30_000 });
  expect((await refused()).map(({ count: _, ...same }) => JSON.stringify(same))).toSatisfy(
    (entries: string[]) => new Set(entries).size === 1 && entries[0]?.includes('"path":"none"') === true,
  );
});

test("a cluster's authorities that change are in the audit, with the key that changed them", async () => {
  const fixture = await startFixture();
  const agent = await enrollAgent(fixture);
  await (await dialAgent(fixture, agent)).ready;
  expect(await eventsOf(fixture, "cluster.authorities.pending")).toEqual([]);
  const tamper = {
    tamper: (proof: Parameters<NonNullable<Parameters<typeof dialAgent>[2]>["tamper"] & object>[0]) => ({
      ...proof,
      clusterAuthorities: pem("other-authority"),
    }),
  };
  await (await dialAgent(fixture, agent, tamper)).ready;
  await vi.waitUntil(async () => (await eventsOf(fixture, "cluster.authorities.pending")).length === 1, {
    timeout: 30_000,
  });
  expect(await eventsOf(fixture, "cluster.authorities.pending")).toMatchObject([{ actor: agent.key.keyId }]);
});

test("readiness tells anybody that the store is away, and nobody where it is", async () => {
  const fixture = await startFixture();
  await fixture.store.close();
  const report = await (await fetch(new URL("/readyz", fixture.url))).text();
  expect(report).toContain("does not answer");
  expect(report).not.toMatch(/relay\.db|127\.0\.0\.1|sqlite|database/i);
});

test("a listener to events is let go when the token ends that opened them", async () => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  onTestFinished(() => void vi.useRealTimers());
  let aheadMs = 0;
  const clock: Clock = { ...SYSTEM_CLOCK, now: () => Date.now() + aheadMs };
  const fixture = await startFixture({ clock });
  const token = await opsToken(fixture, { sub: "root", exp: Math.floor(Date.now() / 1_000) + 60 });
  const response = await fetch(new URL("/v1/admin/events", fixture.url), {
    headers: { authorization: `Bearer ${token}` },
  });
  const all = response.text();
  vi.advanceTimersByTime(15_000);
  aheadMs = 61_000;
  vi.advanceTimersByTime(15_000);
  await expect(all).resolves.toBe(": listening\n\n: still here\n\n");
});

test("a condition that is longer than anybody needs is not taken: it is evaluated for each stream", () => {
  const grant = (condition: string) =>
    GRANT_SCHEMA.safeParse({ clusters: ["*"], issuer: "https://i.test", condition }).success;
  expect(grant(`claims.a == "${"x".repeat(1_000)}"`)).toBe(true);
  expect(grant(`claims.a == "${"x".repeat(4_096)}"`)).toBe(false);
});
