import { createHash, randomBytes } from "node:crypto";
import { EventEmitter } from "node:events";
import { access, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Clock, SYSTEM_CLOCK } from "@cluster-connect/base";
import { createMemoryLogger, createMemoryLogSink } from "@cluster-connect/service/testing";
import { temporaryFolder } from "@cluster-connect/testkit";
import { describe, expect, onTestFinished, test } from "vitest";
import { parseSealKey, type SealKey } from "../../src/audit/seal-key.ts";
import { createSealer } from "../../src/audit/sealer.ts";
import { type AuditEvidence, verifyAudit } from "../../src/audit/verify.ts";
import { runRelay } from "../../src/run.ts";
import { beginAuditAnew, beginningText, type FormerAuditKeeper } from "../../src/store/audit/beginning.ts";
import { placeInFolder } from "../../src/store/open/place.ts";
import { pruneAudit, recordAudit } from "../../src/store/queries/audit.ts";
import type { HeadSeal } from "../../src/store/queries/audit-seals.ts";
import { readSetting, writeSetting } from "../../src/store/queries/settings.ts";
import { openStore, type Store } from "../../src/store/store.ts";
import { describeStores } from "../support/stores.ts";
import { rewriteAudit } from "../support/tamper.ts";

const START = Date.parse("2026-03-01T00:00:00Z");
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const secretKey = (): SealKey => parseSealKey(randomBytes(32).toString("hex"), "test");

/** A keeper in memory: what it holds, and its SHA-256. */
function memoryKeeper(): FormerAuditKeeper & { readonly lines: string[] } {
  const lines: string[] = [];
  const finish = async (): Promise<string> =>
    createHash("sha256")
      .update(`${lines.join("\n")}\n`)
      .digest("hex");
  return { lines, finish, write: async (more) => void lines.push(...more) };
}

async function record({ db }: Store, count: number, at: Date): Promise<void> {
  for (let n = 0; n < count; n += 1) {
    await db
      .transaction()
      .execute((transaction) => recordAudit(transaction, { event: `event.${n}`, actor: "ann", at }));
  }
}

/** A store whose relay seals, and which begins anew. */
async function stage(store: Store) {
  const key = secretKey();
  const time = { now: START };
  const clock: Clock = { ...SYSTEM_CLOCK, now: () => time.now };
  const log = createMemoryLogger();
  const keys = { current: key, former: [] };
  const newSealer = () => createSealer({ intervalMs: HOUR_MS }, { store, clock, log, keys });
  const verify = async (evidence: AuditEvidence = {}) => {
    const seals = { keys, relayId: store.relayId, now: new Date(time.now), maxUnsealedMs: 3 * HOUR_MS };
    return await verifyAudit(store.db, { ...evidence, seals });
  };
  const sealBy =
    (by: SealKey) =>
    async (head: Pick<HeadSeal, "sequence" | "hash" | "at">): Promise<HeadSeal> => {
      const seal = (await by.seal?.(beginningText(head, store.relayId))) ?? "";
      return { ...head, algorithm: by.algorithm, keyId: by.id, seal };
    };
  const begin = async (by: SealKey | undefined = key, after = 0) => {
    const keep = memoryKeeper();
    const why = { reason: "a test", fault: "missing", text: "entry 2 is missing" };
    const seal = by && sealBy(by);
    const now = new Date(time.now);
    const begun = await beginAuditAnew(store.db, { ...why, now, after, relayId: store.relayId, keep, seal });
    return { begun, keep };
  };
  /** Four entries and a seal, of which the second is gone. */
  const broken = async (): Promise<void> => {
    await record(store, 4, new Date(time.now));
    await newSealer().seal();
    await store.db.deleteFrom("audit").where("sequence", "=", 2).execute();
  };
  return { store, key, time, log, newSealer, verify, begin, broken, sealBy };
}

describeStores(({ newPlace, open }) => {
  const staged = async () => await stage(await open(await newPlace()));

  test("an audit that was begun anew verifies from there on, and tells of the break", async () => {
    const { store, time, verify, begin, broken, newSealer } = await staged();
    await broken();
    const { begun, keep } = await begin();
    expect(begun).toMatchObject({ sequence: 6, kept: { sequence: 5, entries: 4, sha256: await keep.finish() } });
    await record(store, 2, new Date(time.now));
    expect(await verify()).toMatchObject({ ok: true, entries: 3, begun: { sequence: 6, reason: "a test" } });
    await newSealer().seal();
    expect(await verify()).toMatchObject({ ok: true, begun: { sequence: 6 }, sealed: { upTo: 8 } });
    const sequences = keep.lines.slice(1).map((line) => JSON.parse(line).sequence);
    expect(sequences).toEqual([1, 3, 4, 5]);
    expect(JSON.parse(keep.lines[0] ?? "")).toMatchObject({
      relayId: store.relayId,
      head: expect.stringMatching(/^5:/),
    });
  });

  test("a break after a new beginning is one", async () => {
    const { store, time, verify, begin, broken } = await staged();
    await broken();
    await begin();
    await record(store, 3, new Date(time.now));
    await store.db.deleteFrom("audit").where("sequence", "=", 8).execute();
    expect(await verify()).toMatchObject({ ok: false, fault: "missing", sequence: 8 });
  });

  test("a beginning without the key, by another key, or with the seal of a head, is none", async () => {
    const { store, key, verify, begin, broken, sealBy } = await staged();
    await broken();
    const { begun } = await begin(secretKey());
    expect(await verify()).toMatchObject({ ok: false, fault: "foreign-key" });
    const write = async (seal: HeadSeal | undefined): Promise<void> => {
      await store.db.deleteFrom("audit").where("sequence", ">=", begun.sequence).execute();
      const { sequence, sha256 } = begun.kept;
      await writeSetting(store.db, "audit_head", `${sequence}:${sha256}`);
      const { reason, fault, text, kept } = begun;
      const entry = { event: "audit.begun", actor: "operator", at: new Date(START), reason, fault, text, kept };
      const sealed = seal === undefined ? entry : { ...entry, seal };
      await store.db.transaction().execute((transaction) => recordAudit(transaction, sealed));
    };
    await write(undefined);
    expect(await verify()).toMatchObject({ ok: false, fault: "unsealed", sequence: 6 });
    const head = { sequence: 5, hash: begun.kept.sha256, at: begun.at };
    const ofHead =
      (await key.seal?.(
        JSON.stringify(["cluster-connect audit head", store.relayId, "audit", 5, head.hash, head.at]),
      )) ?? "";
    await write({ ...head, algorithm: key.algorithm, keyId: key.id, seal: ofHead });
    expect(await verify()).toMatchObject({ ok: false, fault: "forged-seal" });
    await write(await sealBy(key)({ ...head, sequence: 4 }));
    expect(await verify()).toMatchObject({ ok: false, fault: "unsealed" });
    await write(await sealBy(key)(head));
    expect(await verify()).toMatchObject({ ok: true });
  });

  test("a relay that runs goes on from a beginning by the key, and from no other", async () => {
    const { store, time, log, begin, broken, newSealer, verify } = await staged();
    const sealer = newSealer();
    await record(store, 1, new Date(time.now));
    await sealer.seal();
    await broken();
    time.now += HOUR_MS;
    await begin(secretKey());
    await sealer.seal();
    expect(log.lines.at(-1)).toMatchObject({ event: "audit.seal.failed" });
    await begin();
    await sealer.seal();
    expect(log.lines.map(({ event }) => event).slice(-2)).toEqual(["audit.begun", "audit.sealed"]);
    expect(await verify()).toMatchObject({ ok: true, begun: { reason: "a test" } });
  });

  test("new entries come after what sinks have, and after numbers that are there", async () => {
    const { store, begin, broken, verify } = await staged();
    await broken();
    await writeSetting(store.db, "audit_webhook_0123456789abcdef", "40");
    expect((await begin(undefined, 60)).begun.sequence).toBe(61);
    expect((await begin()).begun.sequence).toBe(62);
    await store.db.updateTable("audit").set({ sequence: 950_000_000_000_000 }).where("sequence", "=", 3).execute();
    await writeSetting(store.db, "audit_head", "nonsense");
    const { begun, keep } = await begin();
    expect(begun.sequence).toBe(63);
    expect(keep.lines.at(-1)).toContain('"sequence":950000000000000');
    expect(await verify()).toMatchObject({ ok: true, entries: 1 });
  });

  test("age removes what was before a beginning with the first entries after it", async () => {
    const { store, time, begin, broken, verify, newSealer } = await staged();
    await broken();
    await begin();
    await record(store, 2, new Date(time.now));
    time.now += 3 * DAY_MS;
    await record(store, 1, new Date(time.now));
    const removed = await pruneAudit(
      store.db,
      { before: new Date(time.now - DAY_MS), upTo: 1_000 },
      new Date(time.now),
    );
    expect(removed).toBe(3);
    await newSealer().seal();
    expect(await verify()).toMatchObject({ ok: true, begun: undefined, removed: { upTo: 8 } });
    const rows = await store.db.selectFrom("audit").select("sequence").execute();
    expect(rows.map(({ sequence }) => Number(sequence))).toEqual([9, 10, 11]);
  });

  test("a removal of entries that were sealed within the day is none by age", async () => {
    const { store, time, verify, newSealer, log } = await staged();
    await record(store, 4, new Date(time.now));
    await newSealer().seal();
    time.now += HOUR_MS;
    await record(store, 2, new Date(time.now));
    // An intruder has the store remove what is a minute old, in the words of retention.
    await pruneAudit(store.db, { before: new Date(time.now + 1), upTo: 6 }, new Date(time.now));
    expect(await verify()).toMatchObject({ ok: false, fault: "removal", sequence: 4 });
    const { newest } = { newest: await readSetting(store.db, "audit_seal") };
    const heads = [JSON.parse(newest ?? "{}") as HeadSeal];
    await store.db.deleteFrom("settings").where("name", "=", "audit_seal").execute();
    const now = new Date(time.now);
    expect(await verifyAudit(store.db, { heads, now })).toMatchObject({ ok: false, fault: "removal", sequence: 4 });
    await writeSetting(store.db, "audit_seal", newest ?? "");
    await newSealer().seal();
    expect(log.lines.at(-1)).toMatchObject({ event: "audit.seal.failed", code: "CC_AUDIT_BROKEN" });
    time.now += DAY_MS;
    const later = new Date(time.now);
    expect(await verifyAudit(store.db, { heads, now: later })).toMatchObject({ ok: true });
  });
});

describe("the command", () => {
  async function stageCommand() {
    const folder = await temporaryFolder();
    const store = await openStore(placeInFolder(folder), new Date(START));
    onTestFinished(() => store.close());
    const said: string[] = [];
    const typed = async (...argv: readonly string[]): Promise<number> =>
      await runRelay(["audit", ...argv], {
        env: {},
        signals: new EventEmitter(),
        stdout: (line) => void said.push(line),
        stderr: (line) => void said.push(line),
        logs: createMemoryLogSink(),
      });
    const jwt =
      "[{issuer: {url: https://i.test, audiences: [a]}, claimMappings: {username: {claim: sub, prefix: ''}}}]";
    const kind = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n";
    await writeFile(join(folder, "authentication.yaml"), `${kind}jwt: ${jwt}\n`);
    await writeFile(join(folder, "seal.key"), randomBytes(32).toString("hex"));
    const config = join(folder, "relay.yaml");
    const audit = `audit: {file: ${folder}/audit.jsonl, seal: {keyFile: ${folder}/seal.key}}\n`;
    const settings = `publicUrl: https://r.test\ndataDir: ${folder}\nauthenticationConfig: ${folder}/authentication.yaml\n`;
    await writeFile(config, settings + audit);
    const kept = join(folder, "kept.jsonl");
    return { folder, store, said, typed, config, kept };
  }

  test("keeps the former audit in a file, and verify tells of the break from then on", async () => {
    const { folder, store, said, typed, config, kept } = await stageCommand();
    await record(store, 3, new Date(START));
    await writeFile(join(folder, "audit.jsonl"), `${JSON.stringify({ sequence: 9 })}\n`);
    const begin = ["begin-anew", "--config", config, "--keep", kept, "--reason", "the disk was full"];
    await store.db.updateTable("audit").set({ event: "other" }).where("sequence", "=", 2).execute();
    expect(await typed("verify", "--config", config)).toBe(79);
    expect(await typed(...begin)).toBe(0);
    const sha256 = createHash("sha256")
      .update(await readFile(kept))
      .digest("hex");
    expect((await stat(kept)).mode & 0o777).toBe(0o600);
    expect(said.at(-1)).toContain(`the SHA-256 ${sha256}`);
    expect(await typed("verify", "--config", config)).toBe(0);
    expect(said.at(-1)).toMatch(
      /^The audit was begun anew at number 10, .*: the disk was full\n.*changed: entry 2 was changed/,
    );
    expect(said.at(-1)).toContain(sha256);
    expect(await typed("verify", "--config", config, "-o", "json")).toBe(0);
    expect(JSON.parse(said.at(-1) ?? "")).toMatchObject({ entries: 1, begun: { sequence: 10, kept: { sha256 } } });
    expect(await typed("verify", "--config", config, "--expect", `2:${"0".repeat(64)}`)).toBe(79);
    expect(said.join("\n")).toContain("entry 2 is from before the audit was begun anew at 10");
    expect(await typed(...begin)).toBe(2);
    expect(said.join("\n")).toContain("The audit is whole: there is nothing to begin anew");
  });

  test("refuses a file that is there, a sealed audit without its key, and words that are wrong", async () => {
    const { folder, store, said, typed, config, kept } = await stageCommand();
    await record(store, 2, new Date(START));
    await store.db.deleteFrom("audit").where("sequence", "=", 1).execute();
    const reason = ["--reason", "r"];
    expect(await typed("begin-anew", "--config", config, "--keep", config, ...reason)).not.toBe(0);
    expect(said.join("\n")).toContain("is there already");
    await writeSetting(
      store.db,
      "audit_seal",
      JSON.stringify({ sequence: 1, hash: "h", at: "t", algorithm: "a", keyId: "k", seal: "s" }),
    );
    expect(await typed("begin-anew", "--data-dir", folder, "--keep", kept, ...reason)).not.toBe(0);
    expect(said.join("\n")).toContain("its new beginning needs the key");
    await expect(access(kept)).rejects.toThrow();
    for (const wrong of [
      ["--keep", kept],
      reason,
      ["--keep", kept, "--reason", " "],
      ["--keep", kept, "--reason", "a\nb"],
    ]) {
      expect(await typed("begin-anew", "--data-dir", folder, ...wrong)).toBe(2);
    }
    expect(await typed("begin-anew", "--data-dir", folder, "--keep", kept, "--reason", "r".repeat(501))).toBe(2);
    expect(await typed("begin-anew", "--config", config, "--keep", kept, "--reason", "r".repeat(500))).toBe(0);
  });

  test("an audit whose rewritten entry is no JSON can be verified, and begun anew", async () => {
    const { folder, store, said, typed, kept } = await stageCommand();
    await record(store, 2, new Date(START));
    await rewriteAudit(store, (entries) => entries.map((entry) => ({ ...entry, event: "audit.begun", detail: "{" })));
    await writeSetting(store.db, "audit_anchor", `1:${"0".repeat(64)}`);
    expect(await typed("verify", "--data-dir", folder)).toBe(79);
    expect(await typed("begin-anew", "--data-dir", folder, "--keep", kept, "--reason", "r")).toBe(0);
    expect(said.at(-1)).toContain("begun anew at number 3");
  });
});
