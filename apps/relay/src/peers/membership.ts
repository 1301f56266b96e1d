import { type Clock, wait } from "@cluster-connect/base";
import { errorFields, type Logger } from "@cluster-connect/service";
import type { Directory } from "./directory.ts";
import type { Lease } from "./lease.ts";
import type { PeerSessions } from "./peer-sessions.ts";

/** Keeps this relay known to the others, and the others known to it. */
export interface Membership {
  /** @throws the store's own error. */
  join(): Promise<void>;
  /** Something about the tunnels changed; it is written soon. */
  changed(): void;
  /** Tells the others that this relay takes no new streams. */
  drain(): Promise<void>;
  run(options: { readonly signal: AbortSignal }): Promise<void>;
  /** Gives the lease up; a store that fails lets it end by itself. */
  leave(): Promise<void>;
}

export interface MembershipDeps {
  readonly lease: Lease;
  readonly directory: Directory;
  readonly peerSessions: Pick<PeerSessions, "keep"> | undefined;
  /** The others were read anew. */
  readonly onRead: () => void;
  /** The store has this relay's tunnels as they were when the write began. */
  readonly onWritten: () => void;
  readonly log: Logger;
  readonly clock: Clock;
}

/** Wait after one write; changes made meanwhile go into the next. */
const SETTLE_MS = 50;

export function createMembership(options: { readonly intervalMs: number }, deps: MembershipDeps): Membership {
  const { lease, directory, peerSessions, onRead, onWritten, log, clock } = deps;
  let draining = false;
  let wake = Promise.withResolvers<void>();
  let awaySince: number | undefined;
  let last: Promise<void> = Promise.resolve();

  async function beat(): Promise<void> {
    await lease.renew({ draining });
    await directory.refresh();
    peerSessions?.keep(directory.relays());
    onRead();
  }

  /** One after the other: each writes the changes since the one before. */
  function tryBeat(task: () => Promise<void>): Promise<void> {
    last = last.then(() => attempt(task));
    return last;
  }

  async function attempt(task: () => Promise<void>): Promise<void> {
    try {
      await task();
      onWritten();
      if (awaySince === undefined) return;
      const seconds = Math.round((clock.now() - awaySince) / 1_000);
      awaySince = undefined;
      log.info({ event: "store.back", seconds }, "the store answers again");
    } catch (error) {
      await directory.refresh().catch(() => undefined);
      if (awaySince !== undefined) return;
      awaySince = clock.now();
      log.error({ event: "store.away", ...errorFields(error) }, "the store does not answer; what is held goes on");
    }
  }

  /** Waits for the interval, or for a change. @returns whether there was one. */
  async function next(signal: AbortSignal): Promise<boolean> {
    const over = new AbortController();
    const waited = wait(options.intervalMs, { signal: AbortSignal.any([signal, over.signal]) }, { clock }).catch(
      () => undefined,
    );
    const changed = await Promise.race([waited.then(() => false), wake.promise.then(() => true)]);
    over.abort();
    await waited;
    if (changed) wake = Promise.withResolvers<void>();
    return changed;
  }

  return {
    join: beat,
    changed: () => wake.resolve(),
    async drain() {
      draining = true;
      await tryBeat(beat);
    },
    async run({ signal }) {
      let beatAt = clock.now();
      while (!signal.aborted) {
        const changed = await next(signal);
        if (signal.aborted) return;
        const due = clock.now() >= beatAt + options.intervalMs;
        if (changed && !due) {
          await tryBeat(() => lease.write());
          await wait(SETTLE_MS, { signal }, { clock }).catch(() => undefined);
        } else {
          await tryBeat(beat);
          beatAt = clock.now();
        }
      }
    },
    async leave() {
      await lease.end().catch((error: unknown) => {
        log.warn({ event: "lease.kept", ...errorFields(error) }, "the lease could not be given up and ends by itself");
      });
    },
  };
}
