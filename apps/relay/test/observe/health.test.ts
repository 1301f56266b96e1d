import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { DatabaseSync } from "node:sqlite";
import { createTokenVerifier, parseAuthenticationConfiguration } from "@cluster-connect/auth";
import { startTestIssuer } from "@cluster-connect/auth/testing";
import { type Clock, SYSTEM_CLOCK } from "@cluster-connect/base";
import { createInstanceId, type Health } from "@cluster-connect/service";
import { missingPostgres, startTestPostgres } from "@cluster-connect/service/testing";
import { temporaryFolder } from "@cluster-connect/testkit";
import { sql } from "kysely";
import { expect, onTestFinished, test } from "vitest";
import { errorAnswer } from "../../src/http/error-answer.ts";
import { createRelayHealth } from "../../src/observe/health.ts";
import { POSTGRES } from "../../src/store/open/dialect.ts";
import { placeInFolder } from "../../src/store/open/place.ts";
import { openPostgres } from "../../src/store/open/postgres.ts";
import { readSetting, writeSetting } from "../../src/store/queries/settings.ts";
import { openStore, type Store } from "../../src/store/store.ts";
import { writeRefusal } from "../../src/store/store-full.ts";

/** A store behind a host that takes all bytes and says nothing, as one behind a broken network does. */
async function silentStore(): Promise<Store> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => void sockets.add(socket.resume().on("error", () => undefined)));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address: AddressInfo | string | null = server.address();
  const port = typeof address === "object" ? address?.port : undefined;
  const db = openPostgres(`postgres://relay@127.0.0.1:${port}/relay`);
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await db.destroy();
  });
  return { db, dialect: POSTGRES, relayId: createInstanceId(), close: () => db.destroy() };
}

async function healthWith(withinOutage: boolean, store?: Store, clock: Clock = SYSTEM_CLOCK): Promise<Health> {
  const issuer = await startTestIssuer();
  onTestFinished(() => issuer[Symbol.asyncDispose]());
  const configuration = {
    apiVersion: "apiserver.config.k8s.io/v1",
    kind: "AuthenticationConfiguration",
    jwt: [
      {
        issuer: { url: issuer.url, audiences: ["relay"] },
        claimMappings: { username: { claim: "sub", prefix: "" } },
      },
    ],
  };
  const options = { allowInsecureLoopback: true };
  const verifier = createTokenVerifier(
    parseAuthenticationConfiguration(JSON.stringify(configuration), options).issuers,
  );
  const storeState = () => ({ away: false, readAt: new Date(0), withinOutage });
  return createRelayHealth({
    store: store ?? (await silentStore()),
    storeState,
    verifier,
    checkPeers: undefined,
    clock,
  });
}

test("a database that says nothing leaves the relay ready while what was read still counts", async () => {
  const { ok, checks } = await (await healthWith(true)).ready();
  expect(checks).toContainEqual({
    name: "store",
    ok: true,
    text: "does not answer; what was read 1970-01-01T00:00:00.000Z is served",
  });
  expect(ok).toBe(true);
});

test("afterwards it does not", async () => {
  const { ok, checks } = await (await healthWith(false)).ready();
  expect(checks).toContainEqual({ name: "store", ok: false, text: "does not answer" });
  expect(ok).toBe(false);
});

test("a store that answers and has no room for a write is not ready, and is the next time it is asked when it has", async () => {
  const { store, other } = await sqliteStore();
  const refuse = "begin select raise(fail, 'database or disk is full'); end";
  other.exec(`create trigger full before insert on settings ${refuse}`);
  const time = steppedTime();
  const health = await healthWith(false, store, time.clock);
  const storeCheck = async () => (await health.ready()).checks.find(({ name }) => name === "store");
  expect(await storeCheck()).toEqual({ name: "store", ok: false, text: "does not answer" });
  other.exec("drop trigger full");
  time.ms = 1_000;
  expect(await storeCheck()).toEqual({ name: "store", ok: true, text: "open" });
});

test.each([
  [4_999, 0],
  [5_000, 5_000],
])("the store is written to every five seconds: asked after %d ms it has what was written at %d", async (ms, at) => {
  const { store } = await sqliteStore();
  const time = steppedTime();
  const health = await healthWith(false, store, time.clock);
  expect((await health.ready()).ok).toBe(true);
  time.ms = ms;
  expect((await health.ready()).ok).toBe(true);
  expect(await readSetting(store.db, "ready_at")).toBe(new Date(at).toISOString());
});

test.skipIf(missingPostgres() !== undefined)(
  "a server that became read-only is found out and left by the first question for readiness, without a caller's write",
  async () => {
    const postgres = await startTestPostgres();
    onTestFinished(() => postgres.stop());
    const store = await openStore({ kind: "postgres", url: await postgres.createDatabase() }, new Date());
    onTestFinished(() => store.close());
    const time = steppedTime();
    const health = await healthWith(false, store, time.clock);
    expect((await health.ready()).ok).toBe(true);
    // As a primary's channels are once it is a replica: they answer, and take no write.
    await sql`set session characteristics as transaction read only`.execute(store.db);
    const isReady: boolean[] = [];
    for (time.ms = 1_000; time.ms <= 10_000; time.ms += 1_000) isReady.push((await health.ready()).ok);
    expect(isReady).toEqual([false, ...Array.from({ length: 9 }, () => true)]);
    expect(await readSetting(store.db, "ready_at")).toBe(new Date(10_000).toISOString());
  },
);

function steppedTime(): { ms: number; readonly clock: Clock } {
  const time = { ms: 0, clock: { ...SYSTEM_CLOCK, now: () => time.ms, monotonicNow: () => time.ms } };
  return time;
}

/** A store in a file, and the file as another process has it open. */
async function sqliteStore(): Promise<{ readonly store: Store; readonly other: DatabaseSync }> {
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

/** SQLite itself says that the disk is full: each write to the settings makes its file grow, which may not. */
async function fullStore(): Promise<Store> {
  const store = await openStore(placeInFolder(await temporaryFolder()), new Date());
  onTestFinished(() => store.close());
  const grow = sql`insert into settings (name, value) values ('grown ' || random(), hex(zeroblob(200000)))`;
  await sql`create trigger grows after insert on settings begin ${grow}; end`.execute(store.db);
  await sql`pragma max_page_count = 1`.execute(store.db); // no fewer than there are
  return store;
}

test("a store whose disk is full is not ready, says so to probes and callers, and is when there is room again", async () => {
  const store = await fullStore();
  const health = await healthWith(true, store);
  const { ok, checks } = await health.ready();
  expect(checks).toContainEqual({ name: "store", ok: false, text: "takes no writes: its disk is full" });
  expect(ok).toBe(false);
  const failure = await writeSetting(store.db, "x", "y").catch((error: unknown) => error);
  expect(errorAnswer(failure)).toMatchObject({
    status: 503,
    body: { code: "CC_STORE_FAILED", message: "The relay's store takes no writes: its disk is full" },
  });
  const whole = store.db.transaction().execute(async (transaction) => await writeSetting(transaction, "x", "y"));
  await expect(whole).rejects.toThrow("database or disk is full");
  await sql`pragma max_page_count = 1073741823`.execute(store.db);
  expect((await (await healthWith(true, store)).ready()).checks).toContainEqual({
    name: "store",
    ok: true,
    text: "open",
  });
});

test.each<readonly [string, object, string | undefined]>([
  ["a disk that fails", { errcode: 10 }, "its disk fails"],
  ["a file that is read only, by an extended code", { errcode: 8 | (1 << 8) }, "it may be read only"],
  ["PostgreSQL's full disk", { code: "53100" }, "its disk is full"],
  ["a primary that became a replica, and is found again", { code: "25006" }, undefined],
  ["a lock of another process", { errcode: 5 }, undefined],
  ["a connection that was refused", { code: "ECONNREFUSED" }, undefined],
  ["a code that is an object's own name", { code: "constructor" }, undefined],
])("%s is told for what it is, also as a cause", (_what, fields, reason) => {
  const error = Object.assign(new Error("words with a host"), fields);
  expect([writeRefusal(error), writeRefusal(new Error("outer", { cause: error }))]).toEqual([reason, reason]);
});
