import { SYSTEM_CLOCK } from "@cluster-connect/base";
import { parseClusterId } from "@cluster-connect/protocol";
import { createMemoryLogger } from "@cluster-connect/service/testing";
import { expect, test } from "vitest";
import { createEndJournal, LOST_AFTER_MS, type PassedBytes } from "../../src/audit/journal.ts";
import { verifyAudit } from "../../src/audit/verify.ts";
import { databaseNow } from "../../src/store/open/dialect.ts";
import { readAuditEntries } from "../../src/store/queries/audit-entries.ts";
import type { Store } from "../../src/store/store.ts";
import { describeStores } from "../support/stores.ts";

const ANN = { issuer: "https://login.test", subject: "1", username: "ann" };
const NOW = new Date("2026-03-01T00:00:00Z");
const END = {
  event: "stream.end",
  actor: ANN,
  clusterId: parseClusterId("prod"),
  sessionId: "s",
  openedAt: NOW,
} as const;

let ids = 0;
function journalOf(store: Store, runId: string) {
  const log = createMemoryLogger();
  const clock = { ...SYSTEM_CLOCK, now: () => NOW.getTime() };
  const newId = (): string => {
    ids += 1;
    return `end-${ids}`;
  };
  return { log, journal: createEndJournal({ store, runId, newId, log, clock }) };
}

const rowsOf = async ({ db }: Store) => await db.selectFrom("open_ends").selectAll().orderBy("id").execute();

/** As if a process had not been seen for so long. */
async function age({ db, dialect }: Store, run: string, ms: number): Promise<void> {
  const seenAt = new Date((await databaseNow(db, dialect)).getTime() - ms).toISOString();
  await db.updateTable("relay_runs").set({ seen_at: seenAt }).where("run", "=", run).execute();
}

const still = (): PassedBytes => ({ upBytes: 0, downBytes: 0 });

describeStores(({ newPlace, open }) => {
  test("the ends of a relay that was killed are written by another one, once, with the bytes last seen", async () => {
    const store = await open(await newPlace());
    const { journal: killed } = journalOf(store, "killed");
    let bytes = { upBytes: 10, downBytes: 20 };
    killed.open(END, () => bytes);
    killed.open({ event: "session.end", actor: ANN, sessionId: "s" }, still);
    await killed.flush();
    bytes = { upBytes: 11, downBytes: 9_000_000_000 };
    for (let turn = 0; turn < 10; turn += 1) await killed.flush();
    const others = ["one", "two"].map((run) => journalOf(store, run));
    await age(store, "killed", LOST_AFTER_MS - 10_000);
    await Promise.all(others.map(({ journal }) => journal.flush()));
    expect(await readAuditEntries(store.db, { after: 0, limit: 10 })).toEqual([]);
    await age(store, "killed", LOST_AFTER_MS + 1);
    for (let turn = 0; turn < 10; turn += 1) await Promise.all(others.map(({ journal }) => journal.flush()));
    const entries = await readAuditEntries(store.db, { after: 0, limit: 10 });
    expect(entries.map(({ event }) => event).toSorted()).toEqual(["relay.lost", "session.end", "stream.end"]);
    const end = entries.find(({ event }) => event === "stream.end");
    expect(end).toMatchObject({ actor: ANN, clusterId: "prod", at: NOW.toISOString() });
    expect(JSON.parse(end?.detail ?? "")).toMatchObject({
      sessionId: "s",
      openedAt: NOW.toISOString(),
      code: "CC_CHANNEL_LOST",
      lastSeenAt: expect.any(String),
      ...bytes,
    });
    expect(await verifyAudit(store.db)).toMatchObject({ ok: true, entries: 3 });
    expect(await rowsOf(store)).toEqual([]);
    expect(others.flatMap(({ log }) => log.lines.map(({ event }) => event))).toEqual(["relay.lost"]);
  });

  test("an end that came is owed no longer, and neither is one that came at once", async () => {
    const store = await open(await newPlace());
    const { journal } = journalOf(store, "run");
    const early = journal.open(END, still);
    early();
    const later = journal.open(END, still);
    await journal.flush();
    expect(await rowsOf(store)).toHaveLength(1);
    later();
    // Its entry in the audit is written meanwhile.
    await journal.flush();
    expect(await rowsOf(store)).toHaveLength(1);
    await journal.flush();
    expect(await rowsOf(store)).toHaveLength(0);
    journal.open(END, still)();
    await journal.close();
    expect(await store.db.selectFrom("relay_runs").selectAll().execute()).toEqual([]);
  });

  test("more ends than one transaction writes are all written", async () => {
    const store = await open(await newPlace());
    const { journal: killed } = journalOf(store, "killed");
    for (let n = 0; n < 1_001; n += 1) killed.open(END, still);
    await killed.flush();
    await age(store, "killed", 2 * LOST_AFTER_MS);
    await journalOf(store, "next").journal.flush();
    const ends = await readAuditEntries(store.db, { event: "stream.end", limit: 2_000 });
    expect(ends).toHaveLength(1_001);
    expect(await rowsOf(store)).toEqual([]);
  });

  test("a row that no relay has written is left out, and holds up nothing", async () => {
    const store = await open(await newPlace());
    const { journal: killed } = journalOf(store, "killed");
    for (let n = 0; n < 4; n += 1) killed.open(END, still);
    await killed.flush();
    const [first, second, third] = await rowsOf(store);
    const write = async (id: string | undefined, entry: string): Promise<void> => {
      await store.db
        .updateTable("open_ends")
        .set({ entry })
        .where("id", "=", id ?? "")
        .execute();
    };
    await write(first?.id, "{");
    await write(second?.id, JSON.stringify({ ...END, event: "grant.made" }));
    await write(third?.id, JSON.stringify({ ...END, clusterId: "../x" }));
    await age(store, "killed", 2 * LOST_AFTER_MS);
    await journalOf(store, "next").journal.flush();
    const entries = await readAuditEntries(store.db, { after: 0, limit: 10 });
    expect(entries.map(({ event }) => event)).toEqual(["stream.end", "relay.lost"]);
    expect(await rowsOf(store)).toEqual([]);
  });

  test("a store that is away costs no end: it is written when the store is back", async () => {
    const store = await open(await newPlace());
    const { journal, log } = journalOf(store, "run");
    const away = { db: store.db, dialect: store.dialect };
    const broken = createEndJournal({
      store: new Proxy(away, {
        get: (target, name) => {
          if (name === "db" && isAway) throw new Error("the store is away");
          return Reflect.get(target, name);
        },
      }),
      runId: "other",
      newId: () => "other-1",
      log,
      clock: SYSTEM_CLOCK,
    });
    let isAway = true;
    broken.open(END, still);
    await broken.flush();
    await broken.flush();
    expect(log.lines.map(({ event }) => event)).toEqual(["audit.journal.failed"]);
    isAway = false;
    await broken.flush();
    expect(await rowsOf(store)).toHaveLength(1);
    await journal.close();
  });
});
