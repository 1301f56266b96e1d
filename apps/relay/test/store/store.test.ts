import { spawn } from "node:child_process";
import { once } from "node:events";
import { stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseClusterId } from "@cluster-connect/protocol";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { databaseNow } from "../../src/store/open/dialect.ts";
import { SCHEMA_VERSION } from "../../src/store/open/migrations.ts";
import { placeInFolder } from "../../src/store/open/place.ts";
import { listClusters } from "../../src/store/queries/clusters.ts";
import { addEnrollmentCode } from "../../src/store/queries/enrollment-codes.ts";
import { openStore, type StorePlace } from "../../src/store/store.ts";
import { describeStores } from "../support/stores.ts";

const NOW = new Date("2026-01-01T00:00:00Z");

test("the store's file is for its owner alone", async () => {
  const folder = await temporaryFolder();
  const store = await openStore(placeInFolder(folder), NOW);
  expect((await stat(join(folder, "relay.db"))).mode & 0o777).toBe(0o600);
  await store.close();
});

test("a file that is no database, and a folder that cannot be made, are store failures", async () => {
  const folder = await temporaryFolder();
  await writeFile(join(folder, "relay.db"), "this is not a database, it is a text that is long enough to be looked at");
  await expect(openStore(placeInFolder(folder), NOW)).rejects.toMatchObject({ code: "CC_STORE_FAILED" });
  await expect(openStore(placeInFolder(join(folder, "relay.db", "x")), NOW)).rejects.toMatchObject({
    code: "CC_STORE_FAILED",
  });
});

/**
 * Starts a process that writes, and kills it once it has acknowledged this many rows.
 *
 * @param meanwhile Runs after each row, which the process waits for: one that writes without a pause starves others.
 */
async function writeUntilKilled(place: StorePlace, rows: number, meanwhile?: () => Promise<void>): Promise<number> {
  const writer = spawn(
    process.execPath,
    [
      ...["--conditions=source", fileURLToPath(import.meta.resolve("./writer.ts"))],
      ...[JSON.stringify(place), meanwhile === undefined ? "alone" : "turns"],
    ],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  const exited = once(writer, "exit");
  // It may be gone before it has read an answer.
  writer.stdin.on("error", () => {});
  let acknowledged = 0;
  try {
    for await (const chunk of writer.stdout) {
      acknowledged += String(chunk).split("\n").length - 1;
      await meanwhile?.();
      writer.stdin.write("\n");
      if (acknowledged >= rows) break;
    }
  } finally {
    writer.kill("SIGKILL");
    await exited;
  }
  return acknowledged;
}

describeStores((database) => {
  test("a store keeps its relay id and its rows when it is opened again", async () => {
    const place = await database.newPlace();
    const first = await openStore(place, NOW);
    await addEnrollmentCode(first.db, { clusterId: parseClusterId("prod"), hash: "h", expiresAt: NOW }, NOW);
    await first.close();
    const second = await database.open(place);
    expect(second.relayId).toBe(first.relayId);
    expect(await listClusters(second.db)).toHaveLength(1);
  });

  test("a store of a later version is refused and left as it is", async () => {
    const place = await database.newPlace();
    const { db } = await database.open(place);
    const version = SCHEMA_VERSION + 1;
    await db.insertInto("schema_migrations").values({ version, applied_at: "later" }).execute();
    await expect(openStore(place, NOW)).rejects.toMatchObject({ code: "CC_STORE_NEWER" });
    expect(await db.selectFrom("schema_migrations").selectAll().execute()).toHaveLength(version);
  });

  test("many processes that open an empty store at once make its tables once", async () => {
    const place = await database.newPlace();
    await Promise.all(Array.from({ length: 4 }, () => writeUntilKilled(place, 1)));
    const { db } = await database.open(place);
    const rows = await db.selectFrom("schema_migrations").select("version").orderBy("version").execute();
    expect(rows.map(({ version }) => version)).toEqual(Array.from({ length: SCHEMA_VERSION }, (_, index) => index + 1));
  });

  test("the database's clock is this machine's, on one machine", async () => {
    const { db, dialect } = await database.open(await database.newPlace());
    const before = Date.now();
    const now = (await databaseNow(db, dialect)).getTime();
    expect(now).toBeGreaterThanOrEqual(before - 1);
    expect(now).toBeLessThanOrEqual(Date.now() + 1);
  });

  test("a process that is killed in the middle of writing loses nothing that was acknowledged", async () => {
    const place = await database.newPlace();
    const acknowledged = await writeUntilKilled(place, 50);
    const store = await database.open(place);
    expect((await listClusters(store.db)).length).toBeGreaterThanOrEqual(acknowledged);
  });

  test("a second process may write while the store is open", async () => {
    const place = await database.newPlace();
    const store = await database.open(place);
    let own = 0;
    const acknowledged = await writeUntilKilled(place, 5, async () => {
      own += 1;
      const clusterId = parseClusterId(`own-${own}`);
      await addEnrollmentCode(store.db, { clusterId, hash: clusterId, expiresAt: NOW }, NOW);
    });
    expect((await listClusters(store.db)).length).toBeGreaterThanOrEqual(acknowledged + own);
  });
});
