import { type ClusterUid, parseClusterId, parseClusterUid, parseKeyId } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import { addClusterWithKey, findAgentKey } from "../../../src/store/queries/agent-keys.ts";
import { listClusters, setEnrolled } from "../../../src/store/queries/clusters.ts";
import type { Store } from "../../../src/store/store.ts";
import {
  announceClusterUid,
  listClusterUids,
  MAX_REFUSED_UIDS,
  settleClusterUid,
} from "../../../src/store/uids/cluster-uids.ts";
import { describeStores } from "../../support/stores.ts";

const NOW = new Date("2026-03-01T00:00:00Z");
const BY = { actor: "root", at: NOW };
const PROD = parseClusterId("prod");
const [KEY, OTHER_KEY] = [parseKeyId("some-key"), parseKeyId("other-key")];
const [OWN, COPY, THIRD] = [parseClusterUid("own"), parseClusterUid("copy"), parseClusterUid("third")];

const announce = ({ db }: Store, uid: ClusterUid, keyId = KEY) =>
  announceClusterUid(db, { clusterId: PROD, keyId, uid }, NOW);
const settle = ({ db }: Store, uid: ClusterUid, decision: "accepted" | "rejected") =>
  settleClusterUid(db, { clusterId: PROD, uid, decision }, BY);
const pendingOf = async ({ db }: Store) => (await listClusters(db))[0]?.pendingUid;
const uidOf = async ({ db }: Store) => (await listClusterUids(db, [PROD])).get(PROD)?.uid;
const damage = ({ db }: Store, columns: Readonly<Record<string, string>>) =>
  db.updateTable("clusters").set(columns).where("id", "=", PROD).execute();

describeStores(({ newPlace, open }) => {
  async function withCluster(): Promise<Store> {
    const store = await open(await newPlace());
    await addClusterWithKey(store.db, { clusterId: PROD, key: { keyId: KEY, publicKey: "PEM" } }, NOW);
    return store;
  }

  test("the first UID counts, another one waits, and a third does not take its place", async () => {
    const store = await withCluster();
    expect(await announce(store, OWN)).toEqual({ accepted: true, isNews: true, former: undefined });
    expect(await announce(store, OWN)).toEqual({ accepted: true, isNews: false, former: OWN });
    expect(await announce(store, COPY)).toEqual({ accepted: false, isNews: true, former: OWN });
    expect(await announce(store, COPY)).toMatchObject({ accepted: false, isNews: false });
    expect(await announce(store, THIRD)).toMatchObject({ accepted: false, isNews: false });
    expect([await uidOf(store), await pendingOf(store)]).toEqual([OWN, COPY]);
    expect(await findAgentKey(store.db, KEY)).toMatchObject({ clusterUid: OWN, setsClusterUid: false });
  });

  test("of many that tell one at once a single one counts", async () => {
    const store = await withCluster();
    const uids = Array.from({ length: 8 }, (_, index) => parseClusterUid(`uid-${index}`));
    const told = await Promise.all(uids.map((uid) => announce(store, uid)));
    expect(told.filter(({ accepted }) => accepted)).toHaveLength(1);
    expect(told.filter(({ isNews }) => isNews)).toHaveLength(2);
    expect(await uidOf(store)).toBe(uids[told.findIndex(({ accepted }) => accepted)]);
  });

  test("a decision is kept: the former is refused after an accepted one, a refused one waits no more", async () => {
    const store = await withCluster();
    await announce(store, OWN);
    expect(await settle(store, COPY, "accepted")).toBe(false);
    await announce(store, COPY);
    expect(await settle(store, THIRD, "rejected")).toBe(false);
    expect(await settle(store, COPY, "rejected")).toBe(true);
    expect(await settle(store, COPY, "rejected")).toBe(false);
    expect(await announce(store, COPY)).toMatchObject({ accepted: false, isNews: false });
    expect(await pendingOf(store)).toBeUndefined();
    expect(await settle(store, COPY, "accepted")).toBe(true);
    expect(await announce(store, COPY)).toMatchObject({ accepted: true, isNews: false });
    expect(await announce(store, OWN)).toMatchObject({ accepted: false, isNews: false });
    expect([await uidOf(store), await pendingOf(store)]).toEqual([COPY, undefined]);
  });

  test("a key that a code let in since decides once", async () => {
    const store = await withCluster();
    await announce(store, OWN);
    await announce(store, COPY);
    await setEnrolled(store.db, PROD, { authorities: "PEM", keyId: OTHER_KEY }, NOW);
    expect(await announce(store, COPY)).toMatchObject({ accepted: false });
    expect((await listClusterUids(store.db, [PROD])).get(PROD)).toEqual({ uid: OWN, decidedBy: OTHER_KEY });
    expect(await announce(store, COPY, OTHER_KEY)).toEqual({ accepted: true, isNews: true, former: OWN });
    expect(await announce(store, OWN, OTHER_KEY)).toMatchObject({ accepted: false, isNews: true });
  });

  test("the latest refused UIDs are kept, and no more", async () => {
    const store = await withCluster();
    await announce(store, OWN);
    const uids = Array.from({ length: MAX_REFUSED_UIDS + 1 }, (_, index) => parseClusterUid(`copy-${index}`));
    const [first = COPY, second = COPY] = uids;
    for (const uid of uids) {
      expect(await announce(store, uid)).toMatchObject({ accepted: false, isNews: true });
      expect(await settle(store, uid, "rejected")).toBe(true);
    }
    expect(await announce(store, second)).toMatchObject({ accepted: false, isNews: false });
    expect(await announce(store, first)).toMatchObject({ accepted: false, isNews: true });
  });

  test("a damaged value is as none: the next UID counts, or waits", async () => {
    const store = await withCluster();
    await announce(store, OWN);
    await damage(store, { pending_cluster_uid: "not a uid" });
    expect(await pendingOf(store)).toBeUndefined();
    expect(await announce(store, COPY)).toMatchObject({ accepted: false, isNews: true });
    await damage(store, { cluster_uid: "\u001b[2J" });
    expect(await uidOf(store)).toBeUndefined();
    expect(await findAgentKey(store.db, KEY)).toMatchObject({ clusterUid: undefined });
    expect(await announce(store, OWN)).toEqual({ accepted: true, isNews: true, former: undefined });
  });

  test("clusters that are gone, or have told none, are left out", async () => {
    const store = await withCluster();
    expect(await listClusterUids(store.db, [])).toEqual(new Map());
    expect(await listClusterUids(store.db, [PROD])).toEqual(new Map());
    const gone = { clusterId: parseClusterId("gone"), keyId: KEY, uid: OWN };
    expect(await announceClusterUid(store.db, gone, NOW)).toMatchObject({ accepted: true, isNews: false });
    expect(await settleClusterUid(store.db, { ...gone, decision: "accepted" }, BY)).toBe(false);
  });
});
