import { generateAgentKey } from "@cluster-connect/auth";
import { dialWebSocket } from "@cluster-connect/framing/ws";
import { parseSessionId } from "@cluster-connect/protocol";
import { createInstanceId } from "@cluster-connect/service";
import { describe, expect, test, vi } from "vitest";
import { requireAudit } from "../../src/audit/verify.ts";
import { LIMIT_SCHEMA } from "../../src/quota/limit-settings.ts";
import { readAuditEntries } from "../../src/store/queries/audit-entries.ts";
import { ask } from "../support/admin.ts";
import {
  dialAgent,
  dialCli,
  enrollAgent,
  type Fixture,
  openRequest,
  opsToken,
  PROD,
  startFixture,
} from "../support/fixture.ts";

/** Entries of an event in the store, oldest first. */
async function entriesOf(fixture: Pick<Fixture, "store">, event: string) {
  const found = await readAuditEntries(fixture.store.db, { after: 0, limit: 1_000, event });
  return found.map(({ detail, ...entry }) => ({ ...entry, detail: JSON.parse(detail) }));
}

/** Waits for one entry of an event. */
const entryOf = (fixture: Fixture, event: string) =>
  vi.waitFor(
    async () => {
      const [first] = await entriesOf(fixture, event);
      if (first === undefined) throw new Error(`no entry ${event} yet`);
      return first;
    },
    { timeout: 30_000 },
  );

async function connected() {
  const fixture = await startFixture();
  const agent = await enrollAgent(fixture);
  const tunnel = await dialAgent(fixture, agent);
  await tunnel.ready;
  await vi.waitUntil(() => fixture.relay.registry.view(PROD).state === "connected", { timeout: 30_000 });
  const session = await dialCli(fixture, await opsToken(fixture));
  const { sessionId } = await session.ready;
  return { fixture, agent, tunnel, session, sessionId };
}

describe("a stream's entry", () => {
  test("names caller, cluster, upstream, times, bytes each way and its end", async () => {
    const { fixture, session, sessionId } = await connected();
    const stream = session.open(openRequest());
    stream.end("hello");
    for await (const _ of stream);
    const entry = await entryOf(fixture, "stream.end");
    expect(entry).toMatchObject({
      actor: { issuer: fixture.issuer.url, subject: "jane", username: "jane" },
      clusterId: "prod",
      detail: {
        kind: "open",
        upstream: "kubernetes",
        correlationId: "0123456789abcdef",
        sessionId,
        address: "127.0.0.1",
        openedAt: expect.any(String),
        code: "ok",
        upBytes: 5,
        downBytes: 5,
      },
    });
    expect(Date.parse(entry.detail.openedAt)).toBeLessThanOrEqual(Date.parse(entry.at));
  });

  test("says how it was cut off, also by the relay's own end", async () => {
    const { fixture, session } = await connected();
    const stream = session.open(openRequest());
    stream.on("error", () => undefined);
    await stream.accepted;
    await vi.waitUntil(() => fixture.log.lines.some(({ event }) => event === "stream.open"), { timeout: 30_000 });
    await fixture.relay.close();
    const [entry] = await entriesOf(fixture, "stream.end");
    expect(entry?.detail).toMatchObject({ code: expect.stringMatching(/^CC_/), upBytes: 0 });
    await requireAudit(fixture.store.db);
  });

  test("is owed while it is open, and so is the session's; a relay that ends by itself owes nothing", async () => {
    const { fixture, session, sessionId } = await connected();
    const owed = async () => {
      const rows = await fixture.store.db.selectFrom("open_ends").selectAll().execute();
      return rows.map(({ entry }) => JSON.parse(entry)).toSorted((a, b) => a.event.localeCompare(b.event));
    };
    const stream = session.open(openRequest());
    stream.on("error", () => undefined);
    await stream.accepted;
    await vi.waitUntil(async () => (await owed()).length === 2, { timeout: 60_000 });
    const actor = { issuer: fixture.issuer.url, subject: "jane", username: "jane" };
    const openedAt = expect.any(String);
    expect(await owed()).toEqual([
      { event: "session.end", actor, sessionId, address: "127.0.0.1" },
      expect.objectContaining({ event: "stream.end", actor, sessionId, clusterId: "prod", kind: "open", openedAt }),
    ]);
    await fixture.relay.close();
    expect(await owed()).toEqual([]);
    expect(await fixture.store.db.selectFrom("relay_runs").selectAll().execute()).toEqual([]);
  });

  test("of a refused one names cluster and upstream, and no bytes", async () => {
    const { fixture, session } = await connected();
    const request = openRequest({ upstream: "database", sessionId: parseSessionId("session-of-another") });
    await expect(session.open(request).accepted).rejects.toThrow();
    expect(await entryOf(fixture, "stream.refused")).toMatchObject({
      actor: { issuer: fixture.issuer.url, subject: "jane", username: "jane" },
      clusterId: "prod",
      detail: { code: "CC_PROTOCOL", kind: "open", upstream: "database" },
    });
    expect(await entriesOf(fixture, "stream.end")).toEqual([]);
  });
});

describe("an agent that is refused is in the audit", () => {
  test("by what it claimed, not as an actor, when its key is not known", async () => {
    const fixture = await startFixture();
    const agent = { instanceId: createInstanceId(), key: generateAgentKey() };
    await expect((await dialAgent(fixture, agent)).ready).rejects.toThrow();
    expect(await entryOf(fixture, "agent.refused")).toMatchObject({
      actor: { issuer: null, subject: null, username: "unknown" },
      clusterId: "prod",
      detail: { code: "CC_AGENT_KEY_REFUSED", claimedKeyId: agent.key.keyId, address: "127.0.0.1" },
    });
  });

  test("by what it claimed, not as an actor, when another key signed", async () => {
    const fixture = await startFixture();
    const agent = await enrollAgent(fixture);
    const signature = "A".repeat(86);
    const session = await dialAgent(fixture, agent, { tamper: (proof) => ({ ...proof, signature }) });
    await expect(session.ready).rejects.toThrow();
    expect(await entryOf(fixture, "agent.refused")).toMatchObject({
      actor: { username: "unknown" },
      detail: { code: "CC_CHALLENGE_FAILED", claimedKeyId: agent.key.keyId },
    });
  });

  test("once for a flood of the same, and not at all when the dialer left by itself", async () => {
    const fixture = await startFixture();
    const gone = await dialWebSocket(new URL("/v1/agent", fixture.url), { signal: AbortSignal.timeout(10_000) });
    gone.close(1_000, "");
    const agent = { instanceId: createInstanceId(), key: generateAgentKey() };
    const dials = Array.from({ length: 20 }, async () => await (await dialAgent(fixture, agent)).ready);
    await Promise.allSettled(dials);
    await vi.waitFor(
      async () => {
        const entries = await entriesOf(fixture, "agent.refused");
        expect(entries.reduce((sum, { detail }) => sum + (detail.count ?? 1), 0)).toBe(20);
        expect(entries.length).toBeLessThan(20);
        expect(entries.every(({ detail }) => detail.code === "CC_AGENT_KEY_REFUSED")).toBe(true);
      },
      { timeout: 30_000 },
    );
  });
});

describe("a refusal after a good token names its caller", () => {
  test("for a request of an administrator's", async () => {
    const fixture = await startFixture();
    expect((await ask(fixture, "GET", "/v1/admin/clusters", { as: "jane" })).status).toBe(403);
    expect(await entryOf(fixture, "request.refused")).toMatchObject({
      actor: { issuer: fixture.issuer.url, subject: "jane", username: "jane" },
      detail: { code: "CC_ADMIN_REQUIRED", route: "/v1/admin/clusters" },
    });
  });

  test("for a session beyond the caller's limit, and nobody for a token that is not good", async () => {
    const few = await startFixture({ config: { limits: LIMIT_SCHEMA.parse({ sessionsPerCaller: 1 }) } });
    await (await dialCli(few, await opsToken(few))).ready;
    await expect(dialCli(few, await opsToken(few))).rejects.toThrow();
    await expect(dialCli(few, "hunter2")).rejects.toThrow();
    await vi.waitFor(
      async () => {
        const entries = await entriesOf(few, "session.refused");
        expect(entries.map(({ actor, detail }) => [actor.username, detail.code])).toEqual([
          ["jane", "CC_LIMIT_REACHED"],
          ["unknown", "CC_TOKEN_INVALID"],
        ]);
      },
      { timeout: 30_000 },
    );
  });
});
