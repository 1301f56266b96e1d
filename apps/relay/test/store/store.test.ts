import { spawn } from "node:child_process";
import { once } from "node:events";
import { stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { parseClusterId } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import { listClusters } from "../../src/store/clusters.ts";
import { addEnrollmentCode } from "../../src/store/enrollment-codes.ts";
import { SCHEMA_VERSION } from "../../src/store/migrations.ts";
import { placeInFolder } from "../../src/store/place.ts";
import { openStore } from "../../src/store/store.ts";
import { temporaryFolder } from "../support/folder.ts";

const NOW = new Date("2026-01-01T00:00:00Z");

test("a store keeps its relay id and its rows when it is opened again", async () => {
  const folder = await temporaryFolder();
  const first = await openStore(placeInFolder(folder), NOW);
  await addEnrollmentCode(first.db, { clusterId: parseClusterId("prod"), hash: "h", expiresAt: NOW }, NOW);
  await first.close();
  const second = await openStore(placeInFolder(folder), NOW);
  expect(second.relayId).toBe(first.relayId);
  expect(await listClusters(second.db)).toHaveLength(1);
  await second.close();
});

test("the store's file is for its owner alone", async () => {
  const folder = await temporaryFolder();
  const store = await openStore(placeInFolder(folder), NOW);
  expect((await stat(join(folder, "relay.db"))).mode & 0o777).toBe(0o600);
  await store.close();
});

test("a store of a later version is refused and left as it is", async () => {
  const folder = await temporaryFolder();
  await (await openStore(placeInFolder(folder), NOW)).close();
  const raw = new DatabaseSync(join(folder, "relay.db"));
  raw.exec(`insert into schema_migrations values (${SCHEMA_VERSION + 1}, 'later')`);
  raw.close();
  await expect(openStore(placeInFolder(folder), NOW)).rejects.toMatchObject({ code: "CC_STORE_NEWER" });
});

test("a file that is no database, and a folder that cannot be made, are store failures", async () => {
  const folder = await temporaryFolder();
  await writeFile(join(folder, "relay.db"), "this is not a database, it is a text that is long enough to be looked at");
  await expect(openStore(placeInFolder(folder), NOW)).rejects.toMatchObject({ code: "CC_STORE_FAILED" });
  await expect(openStore(placeInFolder(join(folder, "relay.db", "x")), NOW)).rejects.toMatchObject({
    code: "CC_STORE_FAILED",
  });
});

/** Starts a process that writes, and kills it once it has acknowledged this many rows. */
async function writeUntilKilled(folder: string, rows: number, meanwhile?: () => Promise<void>): Promise<number> {
  const writer = spawn(
    process.execPath,
    ["--conditions=source", fileURLToPath(import.meta.resolve("./writer.ts")), folder],
    {
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  const exited = once(writer, "exit");
  let acknowledged = 0;
  for await (const chunk of writer.stdout) {
    acknowledged += String(chunk).split("\n").length - 1;
    await meanwhile?.();
    if (acknowledged >= rows) break;
  }
  writer.kill("SIGKILL");
  await exited;
  return acknowledged;
}

test("a process that is killed in the middle of writing loses nothing that was acknowledged", async () => {
  const folder = await temporaryFolder();
  const acknowledged = await writeUntilKilled(folder, 50);
  const store = await openStore(placeInFolder(folder), NOW);
  expect((await listClusters(store.db)).length).toBeGreaterThanOrEqual(acknowledged);
  await store.close();
});

test("a second process may write while the store is open", async () => {
  const folder = await temporaryFolder();
  const store = await openStore(placeInFolder(folder), NOW);
  let own = 0;
  const acknowledged = await writeUntilKilled(folder, 5, async () => {
    own += 1;
    const clusterId = parseClusterId(`own-${own}`);
    await addEnrollmentCode(store.db, { clusterId, hash: clusterId, expiresAt: NOW }, NOW);
  });
  expect((await listClusters(store.db)).length).toBeGreaterThanOrEqual(acknowledged + own);
  await store.close();
});
