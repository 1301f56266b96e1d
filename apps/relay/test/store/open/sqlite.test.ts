import { execFile } from "node:child_process";
import { readdir } from "node:fs/promises";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { promisify } from "node:util";
import { temporaryFolder } from "@cluster-connect/testkit";
import { sql } from "kysely";
import { expect, onTestFinished, test } from "vitest";
import { placeInFolder } from "../../../src/store/open/place.ts";
import { askStore, readSetting, writeSetting } from "../../../src/store/queries/settings.ts";
import { openStore, type Store } from "../../../src/store/store.ts";

/** A store, and the file under it as another process has it open. */
async function stage(): Promise<{ readonly store: Store; readonly other: DatabaseSync }> {
  const place = placeInFolder(await temporaryFolder());
  if (place.kind !== "sqlite") throw new Error("not SQLite");
  const store = await openStore(place, new Date());
  const other = new DatabaseSync(place.file);
  onTestFinished(async () => {
    other.close();
    await store.close();
  });
  return { store, other };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("a write waits for another process without keeping this one from its work", async () => {
  const { store, other } = await stage();
  other.exec("begin immediate");
  const single = writeSetting(store.db, "single", "1");
  const whole = store.db.transaction().execute(async (transaction) => {
    await transaction.insertInto("settings").values({ name: "whole", value: "2" }).execute();
  });
  for (let turns = 0; turns < 50; turns += 1) await turn();
  other.exec("commit");
  await Promise.all([single, whole]);
  expect([await readSetting(store.db, "single"), await readSetting(store.db, "whole")]).toEqual(["1", "2"]);
});

test("a write that waits too long fails as locked, and the next one is made", async () => {
  const { store, other } = await stage();
  other.exec("begin immediate");
  await expect(askStore(store.db)).rejects.toThrow(/locked/);
  other.exec("rollback");
  await askStore(store.db);
});

test("the first failure of a transaction is told, not that there is none to roll back", async () => {
  const { store } = await stage();
  const failed = store.db.transaction().execute(async (transaction) => {
    await sql`rollback`.execute(transaction);
    throw new Error("the disk is full");
  });
  await expect(failed).rejects.toThrow("the disk is full");
  await askStore(store.db);
});

test("a statement that fails says why, and one that cannot be asked keeps nothing waiting", async () => {
  const { store } = await stage();
  await expect(sql`select 1 from nowhere`.execute(store.db)).rejects.toThrow(/no such table: nowhere/);
  await expect(sql`select ${true} as x`.execute(store.db)).rejects.toThrow(/is boolean, which no column takes/);
  const { rows } = await sql`select ${Buffer.from("bytes")} as bytes, ${7n} as number`.execute(store.db);
  expect(rows).toMatchObject([{ number: 7 }]);
  await askStore(store.db);
});

test("a process that does nothing but open a store and close it ends once that is done", async () => {
  const place = placeInFolder(await temporaryFolder());
  const store = new URL("../../../src/store/store.ts", import.meta.url);
  const script = `
    const { openStore } = await import(${JSON.stringify(store.href)});
    const store = await openStore(${JSON.stringify(place)}, new Date());
    await store.close();
    process.stdout.write("closed");`;
  for (let round = 0; round < 3; round += 1) {
    const flags = ["--conditions=source", "--input-type=module", "-e", script];
    expect((await promisify(execFile)(process.execPath, flags)).stdout).toBe("closed");
  }
});

test("a store that is closed has let go of its file", async () => {
  const place = placeInFolder(await temporaryFolder());
  if (place.kind !== "sqlite") throw new Error("not SQLite");
  const store = await openStore(place, new Date());
  await store.close();
  // The last one that closes a file takes its write-ahead log away.
  expect(await readdir(dirname(place.file))).toEqual(["relay.db"]);
});
