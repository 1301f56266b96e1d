import { setTimeout as delay } from "node:timers/promises";
import type { TokenVerifier } from "@cluster-connect/auth";
import { type Check, createHealth, type Health } from "@cluster-connect/service";
import { askStore } from "../store/queries/settings.ts";
import type { Store, StoreState } from "../store/store.ts";

/** A readiness probe waits a few seconds; a store that takes longer is as good as away. */
const STORE_ANSWER_MS = 1_000;

/**
 * Ready means two things. The store answers, or did a while ago and its last reading still counts. The keys of some
 * issuer are known, so that callers can be verified.
 */
export function createRelayHealth(deps: {
  readonly store: Store;
  readonly storeState: () => StoreState;
  readonly verifier: TokenVerifier;
  readonly checkPeers: Check | undefined;
}): Health {
  const health = createHealth();
  health.add("store", async () => {
    const { away, readAt, withinOutage } = deps.storeState();
    if (!away && (await answers(deps.store))) return { ok: true, text: "open" };
    if (!withinOutage) return { ok: false, text: "does not answer" };
    return { ok: true, text: `does not answer; what was read ${readAt.toISOString()} is served` };
  });
  health.add("issuers", async ({ signal }) => {
    const isKnown = (): boolean => deps.verifier.status().some(({ fetchedAt }) => fetchedAt !== undefined);
    const loaded =
      isKnown() ||
      (await deps.verifier.load({ signal }).then(
        () => true,
        () => false,
      ));
    return loaded ? { ok: true, text: "keys known" } : { ok: false, text: "no issuer's keys could be fetched" };
  });
  if (deps.checkPeers !== undefined) health.add("peers", deps.checkPeers);
  return health;
}

/** Whether the store answers soon. Readiness is public, and the driver's words name hosts: none is passed on. */
async function answers(store: Store): Promise<boolean> {
  const asked = askStore(store.db).then(
    () => true,
    () => false,
  );
  const over = new AbortController();
  const { signal } = over;
  const late = delay(STORE_ANSWER_MS, false, { signal }).catch(() => false);
  return await Promise.race([asked, late]).finally(() => over.abort());
}
