import { SYSTEM_CLOCK } from "@cluster-connect/base";
import type { Session } from "@cluster-connect/framing";
import { createFakeClock } from "@cluster-connect/framing/testing";
import { parseClusterId, parseInstanceId, parseKeyId, parseSessionId } from "@cluster-connect/protocol";
import { createInstanceId } from "@cluster-connect/service";
import { createMemoryLogger } from "@cluster-connect/service/testing";
import { sql } from "kysely";
import { expect, onTestFinished, test } from "vitest";
import { Registry, type Tunnel } from "../../src/agents/tunnels.ts";
import { createLease, type Lease } from "../../src/peers/lease.ts";
import { createMembership } from "../../src/peers/membership.ts";
import { listRelays, renewLease } from "../../src/store/queries/relays.ts";
import { listTunnels, writeTunnels } from "../../src/store/queries/tunnels.ts";
import { describeStores } from "../support/stores.ts";

const INTERVAL_MS = 2_000;
const directory = { refresh: async () => undefined, relays: () => [] };

/** A relay's word to a store that is fake, by a clock that stands still until it is told. */
function stage(lease: Partial<Lease>) {
  const clock = createFakeClock();
  const log = createMemoryLogger();
  const ended = new AbortController();
  const done: string[] = [];
  const membership = createMembership(
    { intervalMs: INTERVAL_MS },
    {
      lease: {
        renew: async ({ draining }) => void done.push(draining ? "renewed, drains" : "renewed"),
        write: async () => void done.push("written"),
        end: async () => undefined,
        ...lease,
      },
      directory: directory as never,
      peerSessions: undefined,
      onRead: () => undefined,
      onWritten: () => undefined,
      log,
      clock,
    },
  );
  onTestFinished(() => ended.abort());
  const run = (): void => void membership.run({ signal: ended.signal });
  return { clock, log, done, membership, run };
}

const events = (log: ReturnType<typeof createMemoryLogger>): readonly unknown[] => log.lines.map(({ event }) => event);

test("a write that hangs keeps no lease from being renewed, nor a drain from being told", async () => {
  const { clock, done, membership, run } = stage({ write: () => new Promise(() => {}) });
  run();
  membership.changed();
  await clock.advance(3 * INTERVAL_MS);
  expect(done).toEqual(["renewed", "renewed", "renewed"]);
  await membership.drain();
  expect(done.at(-1)).toBe("renewed, drains");
});

test("what changes is written soon, and again after each renewal; what changes during a write goes into the next", async () => {
  let release = (): void => {};
  const writes: number[] = [];
  const { clock, membership, run } = stage({
    write: async () => {
      writes.push(clock.monotonicNow());
      await new Promise<void>((resolve) => {
        release = resolve;
      });
    },
  });
  run();
  membership.changed();
  await clock.advance(10);
  membership.changed();
  await clock.advance(100);
  expect(writes).toEqual([0]);
  release();
  await clock.advance(49);
  expect(writes).toEqual([0]);
  await clock.advance(1);
  expect(writes).toEqual([0, 160]);
  release();
  await clock.advance(INTERVAL_MS);
  expect(writes).toEqual([0, 160, INTERVAL_MS]);
});

test("a store that takes one of the two and not the other is away, and said so once", async () => {
  let fails = true;
  const { clock, log, run } = stage({
    write: async () => {
      if (fails) throw new Error("no space");
    },
  });
  run();
  await clock.advance(4 * INTERVAL_MS);
  expect(events(log)).toEqual(["store.away"]);
  fails = false;
  await clock.advance(INTERVAL_MS);
  expect(events(log)).toEqual(["store.away", "store.back"]);
});

const PROD = parseClusterId("prod");
const ROWS = 600;

/** A tunnel whose session is fake. */
function tunnel(number: number, counters = { openStreams: 0 }): Tunnel {
  return {
    clusterId: PROD,
    instanceId: parseInstanceId(`agent-${String(number).padStart(6, "0")}`),
    keyId: parseKeyId("key-00000001"),
    sessionId: parseSessionId(`session-${String(number).padStart(14, "0")}`),
    session: { state: "open", counters } as unknown as Session,
    since: new Date(0),
    follows: [],
  };
}

const emptyRegistry = (): Registry => new Registry({ now: Date.now, onState: () => undefined });

/** As many tunnels as a relay gets when its agents come back. */
function busyRegistry(): Registry {
  const registry = emptyRegistry();
  for (let number = 0; number < ROWS; number += 1) registry.add(tunnel(number));
  return registry;
}

describeStores((database) => {
  test("a relay whose rows take longer than its lease holds it all the while", async ({ skip }) => {
    const place = await database.newPlace();
    skip(place.kind !== "postgres", "SQLite has no rows that take their time");
    const store = await database.open(place);
    await sql`create function slow_row() returns trigger language plpgsql as
      'begin perform pg_sleep(0.005); return new; end'`.execute(store.db);
    await sql`create trigger slow_rows before insert on tunnels for each row execute function slow_row()`.execute(
      store.db,
    );
    const id = createInstanceId();
    const own = { id, address: "", software: "relay/test", startedAt: new Date(0), ttlMs: 1_000 };
    const lease = createLease(own, { store, registry: busyRegistry() });
    const ended = new AbortController();
    const membership = createMembership(
      { intervalMs: 200 },
      {
        lease,
        directory: directory as never,
        peerSessions: undefined,
        onRead: () => undefined,
        onWritten: () => ended.abort(),
        log: createMemoryLogger(),
        clock: SYSTEM_CLOCK,
      },
    );
    await lease.renew({ draining: false });
    const running = membership.run({ signal: ended.signal });
    membership.changed();
    let looks = 0;
    while (!ended.signal.aborted) {
      expect((await listRelays(store)).map((relay) => relay.id)).toEqual([id]);
      looks += 1;
    }
    await running;
    expect(looks).toBeGreaterThan(10);
    expect(await listTunnels(store)).toHaveLength(ROWS);
  });

  test("rows that a former lease took with it are written again, also where a write was under way", async () => {
    const store = await database.open(await database.newPlace());
    const id = createInstanceId();
    const own = { id, address: "", software: "relay/test", startedAt: new Date(0), ttlMs: 60_000 };
    const lease = createLease(own, { store, registry: busyRegistry() });
    const known = async (): Promise<number> => (await listTunnels(store)).length;
    await lease.renew({ draining: false });
    await lease.write();
    expect(await known()).toBe(ROWS);
    await store.db.deleteFrom("relays").where("id", "=", id).execute();
    expect(await known()).toBe(0);
    await lease.renew({ draining: false });
    await lease.write();
    expect(await known()).toBe(ROWS);
    await lease.write();
    expect(await known()).toBe(ROWS);
  });

  test("what comes, changes and goes is written, each time as it is then", async () => {
    const store = await database.open(await database.newPlace());
    const registry = emptyRegistry();
    const id = createInstanceId();
    const own = { id, address: "", software: "relay/test", startedAt: new Date(0), ttlMs: 60_000 };
    const lease = createLease(own, { store, registry });
    await lease.renew({ draining: false });
    const counters = { openStreams: 0 };
    const [one, two] = [tunnel(1, counters), tunnel(2)];
    const known = async (): Promise<readonly unknown[]> => {
      await lease.write();
      const rows = (await listTunnels(store)).map((row) => [row.agentInstanceId, row.openStreams, row.probe]);
      return rows.toSorted((a, b) => (String(a[0]) < String(b[0]) ? -1 : 1));
    };
    const pending = { kind: "pending" };
    registry.add(one);
    registry.add(two);
    expect(await known()).toEqual([
      ["agent-000001", 0, pending],
      ["agent-000002", 0, pending],
    ]);
    counters.openStreams = 3;
    const failed = { kind: "failed", at: new Date(5_000), reason: "agent: away" } as const;
    registry.probed(two, failed);
    expect(await known()).toEqual([
      ["agent-000001", 3, pending],
      ["agent-000002", 0, failed],
    ]);
    registry.probed(two, { ...failed, at: new Date(9_000) });
    expect(await known()).toMatchObject([{}, ["agent-000002", 0, { at: new Date(5_000) }]]);
    registry.probed(two, { ...failed, at: new Date(9_000), reason: "kube-apiserver: away" });
    registry.remove(one);
    registry.add(tunnel(3));
    expect(await known()).toMatchObject([
      ["agent-000002", 0, { reason: "kube-apiserver: away" }],
      ["agent-000003", 0, pending],
    ]);
    registry.remove(two);
    expect(await known()).toEqual([["agent-000003", 0, pending]]);
    registry.add(one);
    expect(await known()).toMatchObject([["agent-000001", 3, pending], {}]);
  });

  test("a row that is written twice stays one, with what was said of it last", async () => {
    const store = await database.open(await database.newPlace());
    const id = createInstanceId();
    await renewLease(store, { id, address: "", software: "x", startedAt: new Date(0), draining: false }, 60_000);
    const row = {
      id: "one",
      cluster_id: "prod",
      agent_instance_id: "agent-000001",
      follows: "",
      key_id: "key-00000001",
      since: "2026-01-01T00:00:00.000Z",
      software: "agent/test",
      address: null,
      open_streams: 1,
      probe: "pending",
      probe_at: null,
      probe_reason: null,
    };
    await writeTunnels(store, id, { added: [row], changed: [], removed: [] });
    const at = "2026-01-01T00:00:05.000Z";
    const later = { ...row, open_streams: 7, probe: "failed", probe_at: at, probe_reason: "agent: away" };
    await writeTunnels(store, id, { added: [], changed: [later], removed: [] });
    const probe = { kind: "failed", at: new Date(at), reason: "agent: away" };
    expect(await listTunnels(store)).toMatchObject([{ openStreams: 7, probe, since: new Date(row.since) }]);
  });
});
