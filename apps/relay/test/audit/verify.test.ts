import { EventEmitter } from "node:events";
import { parseClusterId } from "@cluster-connect/protocol";
import { createMemoryLogSink } from "@cluster-connect/service/testing";
import { temporaryFolder } from "@cluster-connect/testkit";
import fc from "fast-check";
import { describe, expect, onTestFinished, test } from "vitest";
import { requireAudit, verifyAudit } from "../../src/audit/verify.ts";
import { runRelay } from "../../src/run.ts";
import { placeInFolder } from "../../src/store/open/place.ts";
import { readAuditHead, recordAudit } from "../../src/store/queries/audit.ts";
import { type ChainedEntry, chainEntry, EMPTY_CHAIN, verifyChain } from "../../src/store/queries/audit-chain.ts";
import { openStore, type Store } from "../../src/store/store.ts";

const AT = new Date("2026-03-01T00:00:00Z");

const ANN = { issuer: "https://login.test", subject: "1", username: "ann" };

function chainOf(events: readonly string[]): readonly ChainedEntry[] {
  let head = EMPTY_CHAIN;
  return events.map((event) => {
    const entry = chainEntry(head, {
      chain: "c",
      at: AT.toISOString(),
      event,
      actor: ANN,
      clusterId: null,
      detail: "{}",
    });
    head = entry;
    return entry;
  });
}

describe("a chain", () => {
  test("that nobody touched verifies, also in parts", () => {
    fc.assert(
      fc.property(fc.array(fc.string()), fc.nat(), (events, at) => {
        const entries = chainOf(events);
        const cut = at % (entries.length + 1);
        const first = verifyChain(EMPTY_CHAIN, entries.slice(0, cut));
        const second = first.ok ? verifyChain(first.head, entries.slice(cut)) : first;
        expect(second).toMatchObject({ ok: true, head: { sequence: entries.length } });
      }),
    );
  });

  test("shows each change, gap and swap", () => {
    const entries = chainOf(["a", "b", "c"]);
    const [a, b, c] = entries;
    if (a === undefined || b === undefined || c === undefined) throw new Error("no entries");
    for (const field of ["issuer", "subject", "username"] as const) {
      for (const value of ["other", null]) {
        const changed = { ...b, actor: { ...ANN, [field]: value } };
        expect(verifyChain(EMPTY_CHAIN, [a, changed, c])).toMatchObject({ ok: false, sequence: 2 });
      }
    }
    const nobody = { ...b, actor: { ...ANN, issuer: null, subject: null } };
    expect(verifyChain(EMPTY_CHAIN, [a, nobody, c])).toMatchObject({ ok: false, sequence: 2 });
    for (const field of ["at", "event", "detail", "clusterId", "chain"] as const) {
      expect(verifyChain(EMPTY_CHAIN, [a, { ...b, [field]: "other" }, c])).toMatchObject({ ok: false, sequence: 2 });
    }
    expect(verifyChain(EMPTY_CHAIN, [a, c])).toMatchObject({
      ok: false,
      sequence: 2,
      text: expect.stringContaining("missing"),
    });
    expect(verifyChain(EMPTY_CHAIN, [b, a, c])).toMatchObject({ ok: false, sequence: 1 });
    expect(verifyChain(EMPTY_CHAIN, [a, b, { ...c, previousHash: a.hash }])).toMatchObject({ ok: false, sequence: 3 });
  });
});

describe("the audit of a store", () => {
  async function filledStore(entries: number): Promise<Store> {
    const store = await openStore(placeInFolder(await temporaryFolder()), AT);
    onTestFinished(() => store.close());
    for (let index = 0; index < entries; index += 1) await record(store, `event.${index}`);
    return store;
  }
  const record = (store: Store, event: string): Promise<void> =>
    store.db
      .transaction()
      .execute((transaction) =>
        recordAudit(transaction, { event, actor: "ann", clusterId: parseClusterId("prod"), at: AT, detail: { n: 1 } }),
      );

  test("verifies, and names its head", async () => {
    const store = await filledStore(3);
    const head = await readAuditHead(store.db);
    expect(await verifyAudit(store.db)).toMatchObject({ ok: true, head });
    expect(head?.sequence).toBe(3);
  });

  test("keeps one chain when many write at once", async () => {
    const store = await filledStore(0);
    await Promise.all(Array.from({ length: 20 }, (_, index) => record(store, `event.${index}`)));
    expect(await verifyAudit(store.db)).toMatchObject({ ok: true, head: { sequence: 20 } });
  });

  test("keeps nothing of a transaction that failed", async () => {
    const store = await filledStore(1);
    const failing = store.db.transaction().execute(async (transaction) => {
      await recordAudit(transaction, { event: "gone", actor: "ann", at: AT });
      throw new Error("changed my mind");
    });
    await expect(failing).rejects.toThrow("changed my mind");
    await record(store, "next");
    expect(await verifyAudit(store.db)).toMatchObject({ ok: true, head: { sequence: 2 } });
  });

  test("shows a changed entry, a missing one and a cut tail", async () => {
    const changed = await filledStore(3);
    await changed.db.updateTable("audit").set({ actor: "bob" }).where("sequence", "=", 2).execute();
    expect(await verifyAudit(changed.db)).toMatchObject({ ok: false, sequence: 2, text: "entry 2 was changed" });
    const missing = await filledStore(3);
    await missing.db.deleteFrom("audit").where("sequence", "=", 2).execute();
    expect(await verifyAudit(missing.db)).toMatchObject({ ok: false, sequence: 2 });
    const cut = await filledStore(3);
    await cut.db.deleteFrom("audit").where("sequence", "=", 3).execute();
    expect(await verifyAudit(cut.db)).toMatchObject({ ok: false, text: "entries 3 to 3 are cut off" });
  });

  test("that was written anew from the start does not hold an entry noted elsewhere", async () => {
    const [store, other] = [await filledStore(2), await filledStore(1)];
    const noted = await readAuditHead(store.db);
    expect(await verifyAudit(store.db, { expected: noted })).toMatchObject({ ok: true });
    expect(await verifyAudit(other.db, { expected: noted })).toMatchObject({
      ok: false,
      text: "entry 2 is not the one that was noted",
    });
  });
});

test("the command tells the head, or which entry is wrong", async () => {
  const folder = await temporaryFolder();
  const store = await openStore(placeInFolder(folder), AT);
  const said: string[] = [];
  const verify = async (...more: readonly string[]): Promise<number> =>
    await runRelay(["audit", "verify", "--data-dir", folder, ...more], {
      env: {},
      signals: new EventEmitter(),
      stdout: (line) => void said.push(line),
      stderr: (line) => void said.push(line),
      logs: createMemoryLogSink(),
    });
  await store.db
    .transaction()
    .execute((transaction) => recordAudit(transaction, { event: "first", actor: "ann", at: AT }));
  const head = await readAuditHead(store.db);
  expect(await verify("--expect", `${head?.sequence}:${head?.hash}`)).toBe(0);
  expect(said.join("\n")).toBe(
    `The audit is whole: 1 entries. Its head is 1:${head?.hash}\nIts seals were not checked, as no key was given.`,
  );
  await store.db.updateTable("audit").set({ event: "other" }).execute();
  await store.close();
  expect(await verify()).toBe(79);
  expect(said.join("\n")).toContain("entry 1 was changed");
  expect(await verify("--expect", "nonsense")).toBe(2);
});

test("an audit that is not whole is an error with a code of its own", async () => {
  const store = await openStore(placeInFolder(await temporaryFolder()), AT);
  onTestFinished(() => store.close());
  const never = { sequence: 7, hash: "0".repeat(64) };
  await expect(requireAudit(store.db, { expected: never })).rejects.toMatchObject({ code: "CC_AUDIT_BROKEN" });
});
