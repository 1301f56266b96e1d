import type { TokenVerifier } from "@cluster-connect/auth";
import { type Check, createHealth, type Health } from "@cluster-connect/service";
import { sql } from "kysely";
import type { StoreState } from "./peers/fleet.ts";
import type { Store } from "./store/store.ts";

/** Ready: the store answers, or has until a while ago and what is held still counts, and the keys of some issuer are known, so that callers can be verified. */
export function createRelayHealth(deps: {
  readonly store: Store;
  readonly storeState: () => StoreState;
  readonly verifier: TokenVerifier;
  readonly checkPeers: Check | undefined;
}): Health {
  const health = createHealth();
  health.add("store", async () => {
    const { away, readAt, withinOutage } = deps.storeState();
    if (away) return { ok: withinOutage, text: `does not answer; what was read ${readAt.toISOString()} is served` };
    // Anybody may ask, and the driver's own words name hosts.
    return await sql`select 1`.execute(deps.store.db).then(
      () => ({ ok: true, text: "open" }),
      () => ({ ok: false, text: "does not answer" }),
    );
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
