import { generateKeyPairSync, randomBytes } from "node:crypto";
import { type Clock, SYSTEM_CLOCK } from "@cluster-connect/base";
import { createMemoryLogger } from "@cluster-connect/service/testing";
import { describe, expect, test } from "vitest";
import { parseNotedHeads } from "../../src/audit/heads.ts";
import { compareHead } from "../../src/audit/seal-check.ts";
import { parseSealKey, type SealKey } from "../../src/audit/seal-key.ts";
import { createSealer } from "../../src/audit/sealer.ts";
import { type AuditEvidence, verifyAudit } from "../../src/audit/verify.ts";
import { recordAudit } from "../../src/store/queries/audit.ts";
import { type HeadSeal, readNewestSeal, SEALED_EVENT, sealedText } from "../../src/store/queries/audit-seals.ts";
import { readSetting, writeSetting } from "../../src/store/queries/settings.ts";
import type { Store, StorePlace } from "../../src/store/store.ts";
import { describeStores } from "../support/stores.ts";
import { type ForgedEntry, rewriteAudit } from "../support/tamper.ts";

const START = Date.parse("2026-03-01T00:00:00Z");
const HOUR_MS = 3_600_000;

const secretKey = (): SealKey => parseSealKey(randomBytes(32).toString("hex"), "test");
const pemOf = (key: ReturnType<typeof generateKeyPairSync>["privateKey"], type: "pkcs8" | "spki"): string =>
  key.export({ format: "pem", type }).toString();

/** The audit of a store that its administrator may change, with a relay that seals it. */
async function stage(store: Store, key: SealKey = secretKey(), former: readonly SealKey[] = []) {
  const time = { now: START };
  const clock: Clock = { ...SYSTEM_CLOCK, now: () => time.now };
  const keys = { current: key, former };
  const log = createMemoryLogger();
  const sealerOf = (current = key, others = former, lines = log) =>
    createSealer({ intervalMs: HOUR_MS }, { store, clock, log: lines, keys: { current, former: others } });
  const sealer = sealerOf();
  const record = async (count: number): Promise<void> => {
    for (let n = 0; n < count; n += 1) {
      const entry = { event: `event.${n}`, actor: "ann", at: new Date(time.now) };
      await store.db.transaction().execute((transaction) => recordAudit(transaction, entry));
    }
  };
  const verify = async (evidence: AuditEvidence = {}, by = keys) => {
    const seals = { keys: by, relayId: store.relayId, now: new Date(time.now), maxUnsealedMs: 3 * HOUR_MS };
    return await verifyAudit(store.db, { ...evidence, seals });
  };
  /** Two hours with two entries each, sealed twice. */
  const sealedTwice = async (): Promise<void> => {
    await record(2);
    await sealer.seal();
    time.now += HOUR_MS;
    await record(2);
    await sealer.seal();
  };
  const noted = () => parseNotedHeads(log.lines.map((line) => JSON.stringify(line)).join("\n"));
  return { store, time, key, keys, log, sealer, sealerOf, record, verify, sealedTwice, noted };
}

const isSeal = ({ event }: ForgedEntry): boolean => event === SEALED_EVENT;

describeStores(({ newPlace, open }) => {
  const staged = async (key?: SealKey, former?: readonly SealKey[]) =>
    await stage(await open(await newPlace()), key, former);

  test("a sealed audit verifies, and says up to where it is sealed", async () => {
    const { verify, sealedTwice, record } = await staged();
    await sealedTwice();
    await record(1);
    expect(await verify()).toMatchObject({ ok: true, entries: 7, sealed: { upTo: 5, unsealed: { entries: 1 } } });
  });

  test("an entry taken out of the middle is missing", async () => {
    const { store, verify, sealedTwice } = await staged();
    await sealedTwice();
    await store.db.deleteFrom("audit").where("sequence", "=", 2).execute();
    expect(await verify()).toMatchObject({ ok: false, fault: "missing", sequence: 2 });
  });

  test("an entry taken out, and all after it written anew, is a rewritten head", async () => {
    const { store, verify, sealedTwice } = await staged();
    await sealedTwice();
    await rewriteAudit(store, (entries) => entries.filter((_, index) => index !== 1));
    expect(await verify()).toMatchObject({ ok: false, fault: "rewritten" });
  });

  test("a changed entry, and all after it written anew, is a rewritten head", async () => {
    const { store, verify, sealedTwice } = await staged();
    await sealedTwice();
    const anonymous = { issuer: null, subject: null, username: "nobody" };
    await rewriteAudit(store, ([first, ...rest]) => (first ? [{ ...first, actor: anonymous }, ...rest] : rest));
    expect(await verify()).toMatchObject({ ok: false, fault: "rewritten", text: expect.stringContaining("anew") });
  });

  test("another head than the last entry's is told", async () => {
    const { store, verify, sealedTwice } = await staged();
    await sealedTwice();
    await writeSetting(store.db, "audit_head", `6:${"0".repeat(64)}`);
    expect(await verify()).toMatchObject({ ok: false, fault: "head" });
  });

  test("a tail that is cut is told by the store's head, else by the seal, else by what was noted elsewhere", async () => {
    const { store, verify, sealedTwice, record, sealer, time, noted } = await staged();
    await sealedTwice();
    const older = await readSetting(store.db, "audit_seal");
    time.now += HOUR_MS;
    await record(1);
    await sealer.seal();
    await store.db.deleteFrom("audit").where("sequence", ">", 6).execute();
    expect(await verify()).toMatchObject({ ok: false, fault: "cut", sequence: 7 });
    await rewriteAudit(store, (entries) => entries);
    expect(await verify()).toMatchObject({ ok: false, fault: "cut", sequence: 7 });
    await writeSetting(store.db, "audit_seal", older ?? "");
    expect(await verify()).toMatchObject({ ok: true });
    expect(noted()).toHaveLength(3);
    expect(await verify({ heads: noted() })).toMatchObject({ ok: false, fault: "cut", sequence: 7 });
    expect(await verifyAudit(store.db, { heads: noted() })).toMatchObject({ ok: false, fault: "cut", sequence: 7 });
  });

  test("a seal by a foreign key is told from one that only names the right key", async () => {
    const { store, key, verify, sealedTwice } = await staged();
    await sealedTwice();
    const stranger = secretKey();
    const forge = async (keyId: string): Promise<void> => {
      const { hash = "", at = "" } = (await readNewestSeal(store.db)) ?? {};
      const fields = { sequence: 5, hash, at };
      const seal: HeadSeal = {
        ...fields,
        algorithm: "hmac-sha256",
        keyId,
        seal: (await stranger.seal?.(sealedText(fields, store.relayId))) ?? "",
      };
      await rewriteAudit(store, (entries) =>
        entries.map((entry, index) => (index === 5 ? { ...entry, detail: JSON.stringify({ head: seal }) } : entry)),
      );
    };
    await forge(stranger.id);
    expect(await verify()).toMatchObject({
      ok: false,
      fault: "foreign-key",
      text: expect.stringContaining(stranger.id),
    });
    await forge(key.id);
    expect(await verify()).toMatchObject({ ok: false, fault: "forged-seal" });
    await forge("\u001b[2J");
    expect(await verify()).toMatchObject({
      ok: false,
      text: expect.stringMatching(/ key, whose id is not printable$/),
    });
  });

  test("a seal that is none, and one that names another algorithm than its key has, are forged", async () => {
    const { store, verify, sealedTwice } = await staged();
    await sealedTwice();
    const newest = await readNewestSeal(store.db);
    const replace = async (detail: unknown): Promise<void> =>
      await rewriteAudit(store, (entries) =>
        entries.map((entry, index) => (index === 5 ? { ...entry, detail: JSON.stringify(detail) } : entry)),
      );
    await replace({});
    expect(await verify()).toMatchObject({ ok: false, fault: "forged-seal", text: "entry 6 holds no seal" });
    await replace({ head: { ...newest, algorithm: "ed25519" } });
    expect(await verify()).toMatchObject({ ok: false, fault: "forged-seal", sequence: 5 });
    await replace({ head: newest });
    expect(await verify()).toMatchObject({ ok: true });
  });

  test("a seal of a head that comes after it tells that entries were taken out", async () => {
    const { store, verify, sealedTwice } = await staged();
    await sealedTwice();
    await rewriteAudit(store, (entries) => entries.slice(-1));
    expect(await verify()).toMatchObject({
      ok: false,
      fault: "rewritten",
      text: "entries before 1 were taken out: it seals 5, which came before it",
    });
  });

  test("a head is compared with the last entry that retention removed, and an older one with nothing", async () => {
    const { db } = await open(await newPlace());
    const anchor = { sequence: 3, hash: "a".repeat(64) };
    const compared = async (sequence: number, hash: string) =>
      await compareHead({ sequence, hash, at: "then", algorithm: "", keyId: "", seal: "" }, anchor, db);
    expect(await compared(3, anchor.hash)).toBe(undefined);
    expect(await compared(3, "b".repeat(64))).toMatchObject({ fault: "rewritten" });
    expect(await compared(2, "b".repeat(64))).toBe(undefined);
    expect(await compared(4, "b".repeat(64))).toMatchObject({ fault: "cut" });
  });

  test("an audit without its seals is not sealed", async () => {
    const { store, verify, sealedTwice } = await staged();
    await sealedTwice();
    await rewriteAudit(store, (entries) => entries.filter((entry) => !isSeal(entry)));
    expect(await verify()).toMatchObject({ ok: false, fault: "cut", sequence: 5 });
    await store.db.deleteFrom("settings").where("name", "=", "audit_seal").execute();
    expect(await verify()).toMatchObject({ ok: false, fault: "unsealed" });
  });

  test("a seal of another store counts for nothing here", async () => {
    const key = secretKey();
    const [one, other] = [await staged(key), await staged(key)];
    await one.sealedTwice();
    await other.sealedTwice();
    expect(await other.verify({ heads: one.noted() })).toMatchObject({ ok: false, fault: "forged-seal" });
  });

  test("entries that nothing seals for longer than three intervals are told", async () => {
    const { verify, sealedTwice, record, time } = await staged();
    await sealedTwice();
    await record(1);
    time.now += 3 * HOUR_MS;
    expect(await verify()).toMatchObject({ ok: true });
    time.now += 1;
    expect(await verify()).toMatchObject({ ok: false, fault: "unsealed", sequence: 6 });
  });

  test("with a new key the former one's seals still verify, and it seals nothing any more", async () => {
    const [older, newer] = [secretKey(), secretKey()];
    const first = await staged(older);
    await first.sealedTwice();
    const { store, time, sealerOf, verify } = first;
    time.now += HOUR_MS;
    await sealerOf(newer, [older]).seal();
    const keys = { current: newer, former: [older] };
    expect(await verify({}, keys)).toMatchObject({ ok: true, sealed: { upTo: 6 } });
    expect(await verify({}, { current: newer, former: [] })).toMatchObject({ ok: false, fault: "foreign-key" });
    time.now += HOUR_MS;
    const late = createMemoryLogger();
    await sealerOf(older, [], late).seal();
    expect(late.lines).toMatchObject([{ event: "audit.seal.failed", code: "CC_AUDIT_BROKEN" }]);
    const newest = await readNewestSeal(store.db);
    expect(newest?.keyId).toBe(newer.id);
    const stolen = { sequence: 7, hash: newest?.hash ?? "", at: "now" };
    const seal = (await older.seal?.(sealedText(stolen, store.relayId))) ?? "";
    const detail = JSON.stringify({ head: { ...stolen, algorithm: older.algorithm, keyId: older.id, seal } });
    const actor = { issuer: null, subject: null, username: "relay" };
    await rewriteAudit(store, (all) => [
      ...all,
      { at: new Date(time.now).toISOString(), event: SEALED_EVENT, actor, clusterId: null, detail },
    ]);
    expect(await verify({}, keys)).toMatchObject({
      ok: false,
      fault: "foreign-key",
      text: expect.stringContaining("replaced"),
    });
  });

  test("a relay does not seal a store that was written anew since it looked the last time", async () => {
    for (const tamper of ["change", "cut", "tail", "prune"] as const) {
      const { store, log, sealer, sealedTwice, time, verify, noted } = await staged();
      await sealedTwice();
      const before = await readNewestSeal(store.db);
      if (tamper === "change") await rewriteAudit(store, ([, ...rest]) => rest);
      if (tamper === "cut") await rewriteAudit(store, (all) => all.slice(0, 3));
      // The store still names the entry that is gone as its head.
      if (tamper === "tail") await store.db.deleteFrom("audit").where("sequence", "=", 6).execute();
      if (tamper === "prune") await writeSetting(store.db, "audit_anchor", `6:${"a".repeat(64)}`);
      // Somebody who may write to the store takes the trace of the last seal away, too.
      await store.db.deleteFrom("settings").where("name", "=", "audit_seal").execute();
      time.now += HOUR_MS;
      await sealer.seal();
      expect(log.lines.at(-1)).toMatchObject({ event: "audit.seal.failed", code: "CC_AUDIT_BROKEN" });
      expect(await readNewestSeal(store.db)).toBeUndefined();
      expect(before).toBeDefined();
      expect(await verify({ heads: noted() })).toMatchObject({ ok: false });
    }
  });

  test("a relay that does not seal says which entry was changed since it looked the last time", async () => {
    const { store, log, sealer, sealedTwice, time, record } = await staged();
    await sealedTwice();
    time.now += HOUR_MS;
    await record(2);
    await store.db.updateTable("audit").set({ actor: "bob" }).where("sequence", "=", 7).execute();
    await sealer.seal();
    expect(JSON.stringify(log.lines.at(-1))).toContain("The audit is not whole: entry 7 was changed");
  });

  test("relays on one store make one chain and seal it once an interval, by the clock", async () => {
    const place: StorePlace = await newPlace();
    const key = secretKey();
    const first = await stage(await open(place), key);
    const beside = await stage(first.store.dialect.name === "sqlite" ? first.store : await open(place), key);
    const both = [first, beside];
    await Promise.all(both.map(({ record }) => record(20)));
    for (let hour = 0; hour < 3; hour += 1) {
      await Promise.all(both.map(({ sealer }) => sealer.seal()));
      for (const { time } of both) time.now += HOUR_MS;
      await Promise.all(both.map(({ record }) => record(1)));
    }
    const seals = await first.store.db
      .selectFrom("audit")
      .select("sequence")
      .where("event", "=", SEALED_EVENT)
      .execute();
    expect(seals).toHaveLength(3);
    expect(await first.verify()).toMatchObject({ ok: true, entries: 49 });
    first.time.now -= HOUR_MS / 2 + 1;
    await first.sealer.seal();
    expect((await first.noted()).length + beside.noted().length).toBe(3);
    first.time.now += 1;
    await first.sealer.seal();
    expect((await first.noted()).length + beside.noted().length).toBe(4);
  });

  test("a relay that starts goes on from the newest seal, and finds what was changed meanwhile", async () => {
    const { store, sealedTwice, sealerOf, time } = await staged();
    await sealedTwice();
    await rewriteAudit(store, (entries) => entries.slice(1));
    time.now += HOUR_MS;
    const lines = createMemoryLogger();
    await sealerOf(undefined, undefined, lines).seal();
    expect(lines.lines).toMatchObject([{ event: "audit.seal.failed" }]);
  });
});

describe("keys", () => {
  test("are a secret, or a key pair of which the public half verifies and cannot seal", async () => {
    const { privateKey, publicKey } = generateKeyPairSync("ed25519");
    const own = parseSealKey(pemOf(privateKey, "pkcs8"), "test");
    const auditor = parseSealKey(pemOf(publicKey, "spki"), "test");
    const seal = (await own.seal?.("text")) ?? "";
    expect(auditor).toMatchObject({ id: own.id, algorithm: "ed25519", seal: undefined });
    expect(await auditor.verify("text", seal)).toBe(true);
    expect(await auditor.verify("other", seal)).toBe(false);
    expect(await auditor.verify("text", "AAAA")).toBe(false);
    const secret = secretKey();
    expect(await secret.verify("text", (await secret.seal?.("text")) ?? "")).toBe(true);
    expect(await secret.verify("text", "")).toBe(false);
  });

  test("of 32 bytes are enough, of 31 and of other kinds are refused without a word of them", () => {
    expect(parseSealKey("a".repeat(32), "audit.seal.keyFile: x").algorithm).toBe("hmac-sha256");
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2_048 });
    const wrong = ["a".repeat(31), "", pemOf(privateKey, "pkcs8"), "-----BEGIN CERTIFICATE-----\nsecret\n"];
    for (const text of wrong) {
      const refused = () => parseSealKey(text, "audit.seal.keyFile: x");
      expect(refused).toThrow(expect.objectContaining({ code: "CC_CONFIG_INVALID" }));
      expect(refused).toThrow(/^audit\.seal\.keyFile: x holds (?!.*(aaa|secret\n|MII))/);
    }
  });

  test("are told by an id that says nothing of them", () => {
    const text = "b".repeat(64);
    const { id } = parseSealKey(text, "test");
    expect(id).toMatch(/^[0-9a-f]{16}$/);
    expect(parseSealKey(`${text}\n`, "test").id).toBe(id);
  });
});
