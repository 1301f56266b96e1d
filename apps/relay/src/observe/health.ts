import { setTimeout as delay } from "node:timers/promises";
import type { TokenVerifier } from "@cluster-connect/auth";
import type { Clock } from "@cluster-connect/base";
import { type Check, createHealth, type Health } from "@cluster-connect/service";
import { askStore, writeSetting } from "../store/queries/settings.ts";
import type { Store, StoreState } from "../store/store.ts";
import { writeRefusal } from "../store/store-full.ts";

/** A readiness probe waits a few seconds; a store that takes longer is as good as away. */
const STORE_ANSWER_MS = 1_000;
/** How often a byte is really written: anybody may ask for readiness, and each write waits for the disk. */
const WRITE_MS = 5_000;
const WRITTEN_NAME = "ready_at";

/**
 * Ready means two things. The store answers, or did a while ago and its last reading still counts. The keys of some
 * issuer are known, so that callers can be verified.
 */
export function createRelayHealth(deps: {
  readonly store: Store;
  readonly storeState: () => StoreState;
  readonly verifier: TokenVerifier;
  readonly checkPeers: Check | undefined;
  readonly clock: Clock;
}): Health {
  const health = createHealth({ now: () => deps.clock.monotonicNow() });
  const takesWrite = createWriteCheck(deps.store, deps.clock);
  health.add("store", async () => {
    const { away, readAt, withinOutage } = deps.storeState();
    const answer = away ? "none" : await answerOf(takesWrite);
    if (answer === "taken") return { ok: true, text: "open" };
    // It does not pass by itself, and what happens now is not in the audit.
    if (answer !== "none") return { ok: false, text: `takes no writes: ${answer}` };
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

/** A write that changes something, now and then; in between the question whether it would be taken. */
function createWriteCheck({ db }: Store, clock: Clock): () => Promise<void> {
  let writtenAt: number | undefined;
  return async () => {
    const now = clock.monotonicNow();
    if (writtenAt !== undefined && now - writtenAt < WRITE_MS) {
      await askStore(db);
      return;
    }
    // Where it fails the next question writes again: a full disk takes a write that changes nothing.
    await writeSetting(db, WRITTEN_NAME, new Date(clock.now()).toISOString());
    writtenAt = now;
  };
}

/**
 * The store's answer to a write: taken, none that came soon, or why it takes none. Readiness is public, and the driver's
 * words name hosts: none is passed on.
 */
async function answerOf(takesWrite: () => Promise<void>): Promise<string> {
  const asked = takesWrite().then(
    () => "taken",
    (error: unknown) => writeRefusal(error) ?? "none",
  );
  const over = new AbortController();
  const { signal } = over;
  const late = delay(STORE_ANSWER_MS, "none", { signal }).catch(() => "none");
  return await Promise.race([asked, late]).finally(() => over.abort());
}
