import { parseClusterId } from "@cluster-connect/protocol";
import { createInstanceId } from "@cluster-connect/service";
import { expect, test } from "vitest";
import { createDirectory } from "../../src/peers/directory.ts";
import { endLease, renewLease } from "../../src/store/queries/relays.ts";
import { writeTunnels } from "../../src/store/queries/tunnels.ts";
import { describeStores } from "../support/stores.ts";

const PROD = parseClusterId("prod");
const PEER = createInstanceId();
const OWN = createInstanceId();

const row = (id: string, change: { readonly openStreams?: number; readonly probe?: string } = {}) => ({
  id,
  cluster_id: "prod",
  agent_instance_id: `agent-of-${id}`,
  follows: "",
  key_id: "key-00000001",
  since: "2026-01-01T00:00:00.000Z",
  software: "agent/test",
  address: null,
  open_streams: change.openStreams ?? 0,
  probe: change.probe ?? "passed",
  probe_at: null,
  probe_reason: null,
});

describeStores((database) => {
  async function setUp(ttlMs: number) {
    const store = await database.open(await database.newPlace());
    const peer = { id: PEER, address: "peer:1", software: "relay/test", startedAt: new Date(0), draining: false };
    await renewLease(store, peer, ttlMs);
    await renewLease(store, { ...peer, id: OWN }, ttlMs);
    const rows = [
      row("busy-tunnel", { openStreams: 2 }),
      row("calm-tunnel", { openStreams: 1 }),
      row("sick-tunnel", { probe: "failed" }),
    ];
    await writeTunnels(store, PEER, { added: rows, changed: [], removed: [] });
    await writeTunnels(store, OWN, { added: [row("own-tunnel")], changed: [], removed: [] });
    const clock = { now: 0 };
    const directory = createDirectory({ ownId: OWN, outageMs: 60_000 }, { store, now: () => clock.now });
    const found = (): readonly string[] => directory.tunnels(PROD).map(({ agentInstanceId }) => agentInstanceId);
    return { store, peer, clock, directory, found };
  }

  test("tunnels of other relays come in the order of health, then of streams", async () => {
    const { directory, found } = await setUp(10_000);
    await directory.refresh();
    expect(found()).toEqual(["agent-of-calm-tunnel", "agent-of-busy-tunnel", "agent-of-sick-tunnel"]);
    expect(directory.liveRelays).toBe(2);
  });

  test("a lease that has ended by the database's clock is not seen", async () => {
    const { directory, found } = await setUp(-1);
    await directory.refresh();
    expect(found()).toEqual([]);
    expect(directory.liveRelays).toBe(1);
  });

  test("a lease that was read is used until it ends and not longer", async () => {
    const { clock, directory, found } = await setUp(10_000);
    await directory.refresh();
    clock.now = 9_000;
    expect(found()).toHaveLength(3);
    clock.now = 10_001;
    expect(found()).toEqual([]);
    expect(directory.relay(PEER)).toBeUndefined();
  });

  test("while the store does not answer, what was read last counts for the outage time", async () => {
    const { store, clock, directory, found } = await setUp(10_000);
    await directory.refresh();
    await store.db.destroy();
    await expect(directory.refresh()).rejects.toThrow();
    expect(directory.away).toBe(true);
    clock.now = 59_000;
    expect(found()).toHaveLength(3);
    clock.now = 60_001;
    expect(found()).toEqual([]);
  });

  test("a relay that drains gets no new stream, and one that has left is gone with its tunnels", async () => {
    const { store, peer, directory, found } = await setUp(10_000);
    await renewLease(store, { ...peer, draining: true }, 10_000);
    await directory.refresh();
    expect(found()).toEqual([]);
    expect(directory.relay(PEER)).toMatchObject({ draining: true });
    await endLease(store, PEER);
    await directory.refresh();
    expect(directory.relays()).toEqual([]);
    expect(await store.db.selectFrom("tunnels").select("id").execute()).toEqual([{ id: "own-tunnel" }]);
  });
});
