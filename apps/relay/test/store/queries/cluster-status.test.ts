import { type InstanceId, parseClusterId, parseInstanceId } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import { dropDelivery, listStatuses, noteStatuses, takeDeliveries } from "../../../src/store/queries/cluster-status.ts";
import { makeCluster, removeCluster } from "../../../src/store/queries/clusters.ts";
import { endLease, renewLease } from "../../../src/store/queries/relays.ts";
import { writeTunnels } from "../../../src/store/queries/tunnels.ts";
import type { Store } from "../../../src/store/store.ts";
import { describeStores, type TestDatabase } from "../../support/stores.ts";

const NOW = new Date("2026-01-01T00:00:01Z");
const PROD = parseClusterId("prod");
const BY = { actor: "root", at: NOW };
const [A, B] = [parseInstanceId("relay-000a"), parseInstanceId("relay-000b")];

const join = (store: Store, id: InstanceId): Promise<unknown> =>
  renewLease(store, { id, address: "", software: "x", startedAt: NOW, draining: false }, 60_000);

async function tunnel(store: Store, relay: InstanceId, id: string, probe: string, reason: string | null = null) {
  const row = {
    id,
    cluster_id: PROD,
    agent_instance_id: `of-${id}`,
    follows: "",
    key_id: "k",
    since: NOW.toISOString(),
  };
  const rest = { software: "x", address: null, open_streams: 0, probe, probe_at: null, probe_reason: reason };
  await writeTunnels(store, relay, { removed: [id], added: [{ ...row, ...rest }], changed: [] });
}

const by = (relayId: InstanceId) => ({ relayId, teller: (change: object) => ({ relayId, ...change }) });

/** A store and, where there may be two, another way into it. */
async function two({ newPlace, open }: TestDatabase) {
  const place = await newPlace();
  const first = await open(place);
  const second = place.kind === "sqlite" ? first : await open(place);
  await join(first, A);
  await join(first, B);
  await makeCluster(first.db, { clusterId: PROD, labels: {} }, BY);
  return { first, second };
}

describeStores((database) => {
  test("of many that find a change at once a single one notes it, and keeps one message", async () => {
    const { first, second } = await two(database);
    const look = async () => {
      const looks = Array.from({ length: 10 }, (_, n) =>
        noteStatuses(n % 2 ? first : second, by(n % 2 ? A : B), [PROD], NOW),
      );
      return (await Promise.all(looks)).flat();
    };
    await tunnel(first, A, "t1", "passed");
    expect(await look()).toMatchObject([{ id: "prod/1", clusterId: "prod", status: "connected", reason: null }]);
    for (let number = 2; number <= 10; number += 1) {
      await tunnel(first, A, "t1", number % 2 ? "passed" : "failed", "agent: away");
      expect(await look()).toMatchObject([{ id: `prod/${number}`, status: number % 2 ? "connected" : "degraded" }]);
    }
    const kept = [...(await takeDeliveries(first, A)), ...(await takeDeliveries(first, B))];
    expect(kept.map(({ id }) => id).toSorted()).toEqual(
      Array.from({ length: 10 }, (_, n) => `prod/${n + 1}`).toSorted(),
    );
    expect(kept.map(({ body }) => JSON.parse(body).id).toSorted()).toEqual(kept.map(({ id }) => id).toSorted());
    expect(await noteStatuses(first, by(A), undefined, NOW)).toEqual([]);
  });

  test("a cluster is as well as its best tunnel at any relay, and offline when the last relay is gone", async () => {
    const { first: store } = await two(database);
    const look = async () => (await noteStatuses(store, by(A), undefined, NOW)).map(({ id, status }) => [id, status]);
    await tunnel(store, A, "t1", "failed", "kube-apiserver: away");
    expect(await look()).toEqual([["prod/1", "degraded"]]);
    expect(await listStatuses(store.db)).toMatchObject([{ id: "prod/1", reason: "kube-apiserver: away" }]);
    await tunnel(store, B, "t2", "passed");
    expect(await look()).toEqual([["prod/2", "connected"]]);
    await endLease(store, A);
    expect(await look()).toEqual([]);
    await endLease(store, B);
    expect(await look()).toEqual([["prod/3", "offline"]]);
    expect(await look()).toEqual([]);
  });

  test("a message is another relay's to send once its own is gone, and gone once it was taken", async () => {
    const { first: store, second } = await two(database);
    await tunnel(store, A, "t1", "passed");
    await noteStatuses(store, by(A), [PROD], NOW);
    expect(await takeDeliveries(store, B)).toEqual([]);
    await endLease(store, A);
    await join(store, parseInstanceId("relay-000c"));
    const takers = [takeDeliveries(store, B), takeDeliveries(second, parseInstanceId("relay-000c"))];
    expect((await Promise.all(takers)).flat().map(({ id }) => id)).toEqual(["prod/1"]);
    await dropDelivery(store.db, "prod/1");
    expect(await takeDeliveries(store, B)).toEqual([]);
  });

  test("without a webhook nothing is kept to be sent", async () => {
    const { first: store } = await two(database);
    await tunnel(store, A, "t1", "passed");
    expect(await noteStatuses(store, { relayId: A, teller: undefined }, [PROD], NOW)).toHaveLength(1);
    expect(await takeDeliveries(store, A)).toEqual([]);
  });

  test("a cluster that was removed leaves no status behind, nor do its tunnels that end in a moment", async () => {
    const { first: store } = await two(database);
    await tunnel(store, A, "t1", "passed");
    await noteStatuses(store, by(A), [PROD], NOW);
    await removeCluster(store, PROD, BY);
    expect(await listStatuses(store.db)).toEqual([]);
    expect(await noteStatuses(store, by(B), undefined, NOW)).toEqual([]);
    expect(await noteStatuses(store, by(B), [PROD], NOW)).toEqual([]);
    expect(await listStatuses(store.db)).toEqual([]);
  });

  test("a cluster that is enrolled under the name of a removed one has changes with ids of their own", async () => {
    const { first: store } = await two(database);
    await tunnel(store, A, "t1", "passed");
    await noteStatuses(store, by(A), [PROD], NOW);
    await removeCluster(store, PROD, BY);
    await makeCluster(store.db, { clusterId: PROD, labels: {} }, BY);
    const later = new Date(NOW.getTime() + 60_000);
    expect(await noteStatuses(store, by(A), [PROD], later)).toMatchObject([{ id: "prod/61", status: "connected" }]);
    expect((await takeDeliveries(store, A)).map(({ id }) => id)).toEqual(["prod/1", "prod/61"]);
  });
});
