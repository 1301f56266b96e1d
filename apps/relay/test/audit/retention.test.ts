import { SYSTEM_CLOCK } from "@cluster-connect/base";
import { createMemoryLogger } from "@cluster-connect/service/testing";
import { expect, test } from "vitest";
import { runRetention } from "../../src/audit/retention.ts";
import { describeAudit, requireAudit, verifyAudit } from "../../src/audit/verify.ts";
import { pruneAudit, readAuditAnchor, recordAudit } from "../../src/store/queries/audit.ts";
import { readAuditEntries } from "../../src/store/queries/audit-entries.ts";
import type { Store } from "../../src/store/store.ts";
import { describeStores } from "../support/stores.ts";

const DAY_MS = 86_400_000;
const START = Date.parse("2026-03-01T00:00:00Z");
const day = (number: number): Date => new Date(START + number * DAY_MS);
const ALL = Number.MAX_SAFE_INTEGER;

/** One entry a day, from day 0 on. */
async function write({ db }: Store, from: number, to: number): Promise<void> {
  for (let number = from; number <= to; number += 1) {
    const entry = { event: "e", actor: "a", at: day(number) };
    await db.transaction().execute((transaction) => recordAudit(transaction, entry));
  }
}

const sequences = async ({ db }: Store): Promise<readonly number[]> =>
  (await readAuditEntries(db, { after: 0, limit: 100 })).map(({ sequence }) => sequence);

describeStores(({ newPlace, open }) => {
  test("old entries go from the beginning, the chain says so and is whole from there on", async () => {
    const store = await open(await newPlace());
    await write(store, 0, 9);
    expect(await pruneAudit(store.db, { before: day(4), upTo: ALL }, day(10))).toBe(4);
    expect(await sequences(store)).toEqual([5, 6, 7, 8, 9, 10, 11]);
    const report = await requireAudit(store.db);
    expect(report).toMatchObject({
      entries: 7,
      head: { sequence: 11 },
      removed: { upTo: 4, firstAt: day(4).toISOString() },
    });
    expect(describeAudit(report)).toMatch(/^The audit is whole: 7 entries since 2026-03-05\S+, from number 5 on;/);
    const [told] = await readAuditEntries(store.db, { event: "audit.pruned", limit: 1 });
    expect(JSON.parse(told?.detail ?? "")).toMatchObject({ sequence: 4, entries: 4, before: day(4).toISOString() });
    expect(await pruneAudit(store.db, { before: day(4), upTo: ALL }, day(10))).toBe(0);
  });

  test("what was removed before may go too, as long as the newest removal is told", async () => {
    const store = await open(await newPlace());
    await write(store, 0, 2);
    await pruneAudit(store.db, { before: day(1), upTo: ALL }, day(3));
    await write(store, 4, 5);
    expect(await pruneAudit(store.db, { before: day(5), upTo: ALL }, day(6))).toBe(4);
    expect(await sequences(store)).toEqual([6, 7]);
    expect(await verifyAudit(store.db)).toMatchObject({ ok: true, entries: 2, removed: { upTo: 5 } });
    expect(await pruneAudit(store.db, { before: day(90), upTo: ALL }, day(90))).toBe(2);
    expect(await verifyAudit(store.db)).toMatchObject({ ok: true, entries: 1 });
  });

  test("entries that somebody cuts off the beginning are missed, also with an anchor of his making", async () => {
    const store = await open(await newPlace());
    await write(store, 0, 5);
    await store.db.deleteFrom("audit").where("sequence", "<=", 2).execute();
    expect(await verifyAudit(store.db)).toMatchObject({ ok: false, sequence: 1 });
    const [third] = await readAuditEntries(store.db, { after: 0, limit: 1 });
    const value = `2:${third?.previousHash}`;
    await store.db.insertInto("settings").values({ name: "audit_anchor", value }).execute();
    expect(await verifyAudit(store.db)).toMatchObject({ ok: false, text: expect.stringContaining("no entry tells") });
  });

  test("an entry noted elsewhere is compared as long as it is there, and the last removed one still", async () => {
    const store = await open(await newPlace());
    await write(store, 0, 5);
    const noted = await readAuditEntries(store.db, { after: 0, limit: 6 });
    await pruneAudit(store.db, { before: day(3), upTo: ALL }, day(6));
    expect(await readAuditAnchor(store.db)).toEqual({ sequence: 3, hash: noted[2]?.hash });
    await expect(requireAudit(store.db, { expected: noted[2] })).resolves.toBeDefined();
    await expect(requireAudit(store.db, { expected: noted[3] })).resolves.toBeDefined();
    await expect(requireAudit(store.db, { expected: noted[1] })).rejects.toMatchObject({
      code: "CC_AUDIT_BROKEN",
      message: expect.stringContaining("entry 2 is too old to compare"),
    });
    await expect(requireAudit(store.db, { expected: { sequence: 3, hash: "0" } })).rejects.toMatchObject({
      code: "CC_AUDIT_BROKEN",
    });
  });

  test("an entry that a sink has not got stays, whatever its age", async () => {
    const store = await open(await newPlace());
    await write(store, 0, 5);
    const log = createMemoryLogger();
    const stop = new AbortController();
    let cursor = 2;
    const sinks = [{ cursor: async () => cursor }, { cursor: async () => 6 }];
    const clock = { ...SYSTEM_CLOCK, now: () => day(40).getTime() };
    const running = runRetention(
      { retentionDays: 30, intervalMs: 5, signal: stop.signal },
      { store, sinks, log, clock },
    );
    await log.once("audit.pruned");
    expect(await sequences(store)).toEqual([3, 4, 5, 6, 7]);
    cursor = 6;
    await expect.poll(() => sequences(store)).toEqual([7, 8]);
    stop.abort();
    await running;
    expect(await verifyAudit(store.db)).toMatchObject({ ok: true });
  });
});
