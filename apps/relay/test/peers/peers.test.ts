import type { StreamRequest } from "@cluster-connect/framing";
import { createFakeClock, sessionPair, TEST_OPEN } from "@cluster-connect/framing/testing";
import { ConnectError, type InstanceId, parseClusterId, parseInstanceId, parseSecret } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import type { Directory } from "../../src/peers/directory.ts";
import type { PeerSessions } from "../../src/peers/peer-sessions.ts";
import { createPeers } from "../../src/peers/peers.ts";
import type { StoredRelay } from "../../src/store/queries/relays.ts";
import type { StoredTunnel } from "../../src/store/queries/tunnels.ts";

const CLUSTER = TEST_OPEN.cluster;
const [B, C] = [parseInstanceId("relay-bb"), parseInstanceId("relay-cc")];
const OPEN: StreamRequest = {
  kind: "open",
  open: { ...TEST_OPEN, windowBytes: 1_024, key: parseSecret("A".repeat(43)), graceMs: 0, viaPeer: false },
};
const relay = (id: InstanceId, address = `${id}:8444`): StoredRelay => ({
  id,
  address,
  draining: false,
  leaseMs: 10_000,
});
const tunnel = (relayId: InstanceId): StoredTunnel => ({
  clusterId: CLUSTER,
  agentInstanceId: parseInstanceId(`agent-of-${relayId}`),
  follows: [],
  relayId,
  since: new Date(0),
  openStreams: 0,
  probe: { kind: "passed", at: new Date(0) },
});

/** A relay's knowledge of its peers; `tunnels` are those of its last reading of the store. */
async function setUp(known: { readonly tunnels: readonly StoredTunnel[]; readonly open?: readonly InstanceId[] }) {
  const clock = createFakeClock();
  const { dialer } = sessionPair({}, { clock });
  const ended = sessionPair({}, { clock }).dialer;
  await Promise.all([dialer.ready, ended.ready]);
  ended.close();
  const world = {
    tunnels: known.tunnels,
    away: false,
    read: 0,
    now: 0,
    unreachable: [] as InstanceId[],
    withoutAddress: [] as InstanceId[],
    leaving: [] as InstanceId[],
    fault: undefined as Error | undefined,
    broken: undefined as Error | undefined,
    inStore: null as readonly StoredTunnel[] | null,
  };
  const directory: Directory = {
    relays: () => [relay(B), relay(C)],
    relay: (id) => relay(id, world.withoutAddress.includes(id) ? "" : undefined),
    tunnels: () => world.tunnels,
    liveRelays: 3,
    readAt: 0,
    get away() {
      return world.away;
    },
    refresh() {
      world.read += 1;
      if (world.fault !== undefined) return Promise.reject(world.fault);
      world.tunnels = world.inStore ?? world.tunnels;
      return Promise.resolve();
    },
  };
  const peerSessions: PeerSessions = {
    session: ({ id }) =>
      world.unreachable.includes(id)
        ? Promise.reject(new ConnectError("CC_RELAY_UNREACHABLE", `The relay ${id} does not answer`))
        : world.broken !== undefined
          ? Promise.reject(world.broken)
          : Promise.resolve(world.leaving.includes(id) ? ended : dialer),
    isOpen: (id) => known.open?.includes(id) === true,
    keep: () => undefined,
    close: () => undefined,
  };
  const peers = createPeers({ directory, peerSessions, now: () => world.now });
  const route = async (): Promise<InstanceId | undefined> => (await peers.route(OPEN))?.relayId;
  return { world, peers, route };
}

test("a relay that proved wrong about a cluster is not tried for three seconds, then again", async () => {
  const { world, peers, route } = await setUp({ tunnels: [tunnel(B), tunnel(C)] });
  expect(await route()).toBe(B);
  peers.wasWrong(B, CLUSTER);
  expect(await route()).toBe(C);
  world.now = 2_999;
  expect(await route()).toBe(C);
  world.now = 3_000;
  expect(await route()).toBe(B);
});

test("what proved wrong is read again from the store, unless the store does not answer", async () => {
  const { world, peers } = await setUp({ tunnels: [tunnel(B)] });
  peers.wasWrong(B, CLUSTER);
  expect(world.read).toBe(1);
  world.away = true;
  peers.wasWrong(B, CLUSTER);
  expect(world.read).toBe(1);
});

test("a tunnel that is younger than what is known is found in the store", async () => {
  const { world, route } = await setUp({ tunnels: [] });
  world.inStore = [tunnel(C)];
  expect(await route()).toBe(C);
  expect(world.read).toBe(1);
});

test("while the store does not answer, what is known is all there is", async () => {
  const { world, route } = await setUp({ tunnels: [] });
  world.inStore = [tunnel(C)];
  world.away = true;
  expect(await route()).toBeUndefined();
  expect(world.read).toBe(0);
});

test("a relay with a session is preferred, one that cannot be reached is passed over", async () => {
  const { world, route } = await setUp({ tunnels: [tunnel(B), tunnel(C)], open: [C] });
  expect(await route()).toBe(C);
  world.unreachable.push(C);
  expect(await route()).toBe(B);
  world.unreachable.push(B);
  expect(await route()).toBeUndefined();
});

test("a stream that comes back goes to the relay of the very agent that holds it, and to no other", async () => {
  const { peers } = await setUp({ tunnels: [tunnel(B), tunnel(C)] });
  const back = async (instanceId: string): Promise<InstanceId | undefined> => {
    const resume = {
      cluster: CLUSTER,
      instanceId: parseInstanceId(instanceId),
      key: parseSecret("A".repeat(43)),
      attempt: 1,
      received: 0,
      consumed: 0,
      windowBytes: 1_024,
      viaPeer: false,
    };
    return (await peers.route({ kind: "resume", resume }))?.relayId;
  };
  expect(await back("agent-of-relay-cc")).toBe(C);
  expect(await back("agent-of-relay-bb")).toBe(B);
  expect(await back("agent-of-nobody")).toBeUndefined();
});

test("a relay is wrong about the cluster that it was wrong about, and about no other", async () => {
  const { peers, route } = await setUp({ tunnels: [tunnel(B), tunnel(C)] });
  peers.wasWrong(B, parseClusterId("another"));
  expect(await route()).toBe(B);
});

test("a relay without an address, and one whose session has ended, are passed over", async () => {
  const { world, route } = await setUp({ tunnels: [tunnel(B), tunnel(C)] });
  world.withoutAddress.push(B);
  expect(await route()).toBe(C);
  world.withoutAddress.length = 0;
  world.leaving.push(B);
  expect(await route()).toBe(C);
  world.leaving.push(C);
  expect(await route()).toBeUndefined();
});

test("relays without a session are tried in the order of their tunnels, each once", async () => {
  const { world, peers, route } = await setUp({ tunnels: [tunnel(C), tunnel(B), tunnel(C)] });
  expect(await route()).toBe(C);
  world.unreachable.push(C);
  expect(await route()).toBe(B);
  peers.wasWrong(B, CLUSTER);
  expect(await route()).toBeUndefined();
});

test("a reading that fails leaves what is known, here and after a relay proved wrong", async () => {
  const { world, peers, route } = await setUp({ tunnels: [] });
  world.fault = new ConnectError("CC_STORE_FAILED", "The store does not answer");
  expect(await route()).toBeUndefined();
  peers.wasWrong(B, CLUSTER);
  expect(world.read).toBe(2);
});

test("a fault of this relay itself is not taken for a relay that cannot be reached", async () => {
  const { world, route } = await setUp({ tunnels: [tunnel(B), tunnel(C)] });
  world.broken = new TypeError("not a function");
  await expect(route()).rejects.toThrow("not a function");
});
