import { once } from "node:events";
import { appendFile, readFile, truncate } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { json } from "node:stream/consumers";
import { SYSTEM_CLOCK } from "@cluster-connect/base";
import { parseClusterId } from "@cluster-connect/protocol";
import { createMemoryLogger } from "@cluster-connect/service/testing";
import { temporaryFolder } from "@cluster-connect/testkit";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { type AuditPolicy, createAuditLog } from "../../src/audit/audit-log.ts";
import { createFileSink } from "../../src/audit/file-sink.ts";
import { type AuditSink, runSink } from "../../src/audit/sink.ts";
import { verifyAudit } from "../../src/audit/verify.ts";
import { createWebhookSink } from "../../src/audit/webhook-sink.ts";
import { placeInFolder } from "../../src/store/open/place.ts";
import { openStore, type Store } from "../../src/store/store.ts";

const AT = new Date("2026-03-01T00:00:00Z");

async function stage(options: { readonly whenFull?: AuditPolicy; readonly maxPending?: number } = {}) {
  const folder = await temporaryFolder();
  const store = await openStore(placeInFolder(folder), AT);
  onTestFinished(() => store.close());
  const log = createMemoryLogger();
  const deps = { store, log, clock: SYSTEM_CLOCK };
  const audit = createAuditLog({ whenFull: options.whenFull ?? "block", ...options }, deps);
  const record = async (from: number, to: number): Promise<void> => {
    for (let n = from; n <= to; n += 1) audit.record({ event: `event.${n}`, actor: "ann", at: AT });
    await audit.flush();
  };
  const dropped: number[] = [];
  const feed = (sink: AuditSink, policy: AuditPolicy = "block", maxBehind = 10) => {
    const stop = new AbortController();
    const options = { policy, maxBehind, intervalMs: 5, signal: stop.signal };
    const running = runSink(sink, options, { ...deps, audit, onDropped: (count) => dropped.push(count) });
    const end = async (): Promise<void> => {
      stop.abort();
      await running;
    };
    onTestFinished(end);
    return end;
  };
  return { folder, store, log, audit, record, feed, dropped };
}

/** A store whose queries fail, as one that is away does. */
async function awayStore(): Promise<Store> {
  const store = await openStore(placeInFolder(await temporaryFolder()), AT);
  await store.close();
  return store;
}

describe("the audit of a running relay", () => {
  test("is written in batches, and equal refusals become one entry with a count", async () => {
    const { audit, store } = await stage();
    audit.record({ event: "session.start", actor: "ann", at: AT });
    for (let n = 0; n < 1_000; n += 1)
      audit.refused({ event: "session.refused", actor: "?", at: new Date(), code: "X" });
    audit.refused({ event: "session.refused", actor: "?", at: AT, code: "Y" });
    expect(audit.pending).toBe(3);
    await audit.flush();
    const rows = await store.db.selectFrom("audit").select(["event", "detail"]).orderBy("sequence").execute();
    expect(rows.map(({ detail }) => JSON.parse(detail))).toEqual([{}, { code: "X", count: 1_000 }, { code: "Y" }]);
    expect(await verifyAudit(store.db)).toMatchObject({ ok: true });
  });

  test("stays small in a flood of refusals that are all different, and takes new work on", async () => {
    const { audit, store } = await stage({ maxPending: 200 });
    for (let n = 0; n < 1_000; n += 1)
      audit.refused({ event: "stream.refused", actor: "eve", at: AT, code: "X", clusterId: parseClusterId(`c${n}`) });
    audit.refused({ event: "stream.refused", actor: "eve", at: AT, code: "X", clusterId: parseClusterId("c7") });
    audit.refused({ event: "stream.refused", actor: "ann", at: AT, code: "X", clusterId: parseClusterId("c0") });
    expect(() => audit.assertAccepting()).not.toThrow();
    await audit.flush();
    const rows = await store.db
      .selectFrom("audit")
      .select(["actor", "cluster_id", "detail"])
      .orderBy("sequence")
      .execute();
    expect(rows).toHaveLength(102);
    expect(rows[7]).toEqual({ actor: "eve", cluster_id: "c7", detail: JSON.stringify({ code: "X", count: 2 }) });
    const more = { code: "X", more: true };
    expect(rows.slice(100).map((row) => ({ ...row, detail: JSON.parse(row.detail) }))).toEqual([
      { actor: "eve", cluster_id: null, detail: { ...more, count: 900 } },
      { actor: "ann", cluster_id: null, detail: more },
    ]);
    audit.refused({ event: "stream.refused", actor: "ann", at: AT, code: "X", clusterId: parseClusterId("c0") });
    await audit.flush();
    const newest = await store.db
      .selectFrom("audit")
      .select("cluster_id")
      .orderBy("sequence", "desc")
      .limit(1)
      .execute();
    expect(newest).toEqual([{ cluster_id: "c0" }]);
  });

  test.each(["block", "drop"] as const)("with a store that is away and the policy %s", async (whenFull) => {
    const deps = { store: await awayStore(), log: createMemoryLogger(), clock: SYSTEM_CLOCK };
    const audit = createAuditLog({ whenFull, maxPending: 3 }, deps);
    for (let n = 0; n < 3; n += 1) audit.record({ event: "e", actor: "a", at: AT });
    await audit.flush();
    await audit.flush();
    expect(deps.log.lines.filter(({ event }) => event === "audit.failed")).toHaveLength(1);
    expect([audit.pending, audit.dropped]).toEqual([3, 0]);
    if (whenFull === "drop") expect(() => audit.assertAccepting()).not.toThrow();
    else expect(() => audit.assertAccepting()).toThrow(expect.objectContaining({ code: "CC_AUDIT_FULL" }));
    audit.record({ event: "e", actor: "a", at: AT });
    expect([audit.pending, audit.dropped]).toEqual([3, 1]);
  });
});

test("ends of streams have a bound of their own, and the audit itself says how many entries were lost", async () => {
  const store = await awayStore();
  const log = createMemoryLogger();
  const world = { store };
  const deps = {
    log,
    clock: SYSTEM_CLOCK,
    get store() {
      return world.store;
    },
  };
  const audit = createAuditLog({ whenFull: "block", maxPending: 2 }, deps);
  const end = { event: "stream.end", actor: "ann", at: AT };
  for (let n = 0; n < 2; n += 1) audit.stream(end);
  expect(() => audit.assertAccepting()).toThrow(expect.objectContaining({ code: "CC_AUDIT_FULL" }));
  for (let n = 2; n < 20; n += 1) audit.stream(end);
  expect([audit.pending, audit.dropped]).toEqual([20, 0]);
  for (let n = 0; n < 3; n += 1) audit.stream(end);
  audit.record({ event: "session.end", actor: "ann", at: AT });
  expect([audit.pending, audit.dropped]).toEqual([21, 3]);
  expect(log.lines.filter(({ event }) => event === "audit.dropped")).toHaveLength(1);
  const back = await stage();
  world.store = back.store;
  await audit.flush();
  expect(() => audit.assertAccepting()).not.toThrow();
  const rows = await back.store.db.selectFrom("audit").select(["event", "detail"]).orderBy("sequence").execute();
  expect(rows).toHaveLength(22);
  expect(rows.at(-1)).toEqual({ event: "audit.dropped", detail: '{"entries":3}' });
  await audit.flush();
  expect(await verifyAudit(back.store.db)).toMatchObject({ ok: true, entries: 22 });
});

describe("a file", () => {
  const linesOf = async (path: string) =>
    (await readFile(path, "utf8"))
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));

  test("gets every entry once, over a restart and a line that was cut off", async () => {
    const { folder, record, feed } = await stage();
    const path = join(folder, "audit.jsonl");
    await record(1, 3);
    const end = feed(createFileSink(path));
    await vi.waitFor(async () => expect(await linesOf(path)).toHaveLength(3), { timeout: 30_000 });
    await record(4, 600);
    await vi.waitFor(async () => expect(await linesOf(path)).toHaveLength(600), { timeout: 30_000 });
    await end();
    const { length } = await readFile(path);
    await truncate(path, length - 20);
    await appendFile(path, "\n");
    feed(createFileSink(path));
    await vi.waitFor(
      async () => {
        const whole = (await readFile(path, "utf8")).split("\n").filter((line) => line.endsWith("}"));
        expect(whole.map((line) => JSON.parse(line).sequence)).toEqual(Array.from({ length: 600 }, (_, n) => n + 1));
      },
      { timeout: 30_000 },
    );
  });
});

describe("a webhook", () => {
  test("gets entries signed, goes on where it was, and shares its place with other relays", async () => {
    const { store, record, feed } = await stage();
    const got: number[] = [];
    let status = 500;
    const server = createServer(async (request, response) => {
      const body = await json(request);
      expect(request.headers["cluster-connect-signature"]).toMatch(/^t=\d+,v1=[0-9a-f]{64}$/);
      response.writeHead(status).end();
      if (
        status === 200 &&
        typeof body === "object" &&
        body !== null &&
        "entries" in body &&
        Array.isArray(body.entries)
      ) {
        got.push(...body.entries.map(({ sequence }: { readonly sequence: number }) => sequence));
      }
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    onTestFinished(() => void server.close());
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    const make = () =>
      createWebhookSink(
        { url: `http://127.0.0.1:${address.port}`, secret: "s" },
        { store, fetch, now: SYSTEM_CLOCK.now },
      );
    await record(1, 3);
    const end = feed(make());
    status = 200;
    await vi.waitFor(() => expect(got).toEqual([1, 2, 3]), { timeout: 30_000 });
    await end();
    await record(4, 5);
    feed(make());
    await vi.waitFor(() => expect(got).toEqual([1, 2, 3, 4, 5]), { timeout: 30_000 });
  });
});

describe("a sink that fails", () => {
  const failing = (state: { at: number; broken: boolean }): AuditSink => ({
    name: "file",
    cursor: async () => state.at,
    write: async (entries) => {
      if (state.broken) throw new Error("disk full");
      state.at = entries.at(-1)?.sequence ?? state.at;
    },
    skip: async (sequence) => {
      state.at = sequence;
    },
  });

  test("under `block` keeps new work from being taken until it is back", async () => {
    const { audit, record, feed, log } = await stage();
    const state = { at: 0, broken: true };
    await record(1, 5);
    feed(failing(state));
    await log.once("audit.sink.failed");
    expect(() => audit.assertAccepting()).not.toThrow();
    await record(6, 20);
    await vi.waitFor(() => expect(() => audit.assertAccepting()).toThrow(/20 entries behind/), { timeout: 30_000 });
    state.broken = false;
    await vi.waitFor(() => expect(() => audit.assertAccepting()).not.toThrow(), { timeout: 30_000 });
    expect(state.at).toBe(20);
  });

  test("under `drop` loses the oldest entries, and they are counted", async () => {
    const { audit, record, feed, dropped } = await stage();
    const state = { at: 0, broken: true };
    await record(1, 30);
    feed(failing(state), "drop", 10);
    await vi.waitFor(() => expect(dropped).toEqual([25]), { timeout: 30_000 });
    expect(state.at).toBe(25);
    expect(() => audit.assertAccepting()).not.toThrow();
  });
});
