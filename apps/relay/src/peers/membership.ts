import { type Clock, onAbort, wait } from "@cluster-connect/base";
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

/** The lease and the tunnels are told to the store apart: a lease that ends while many rows are written is a relay lost. */
type Told = "lease" | "tunnels";

export function createMembership(options: { readonly intervalMs: number }, deps: MembershipDeps): Membership {
  const { lease, directory, peerSessions, onRead, onWritten, log, clock } = deps;
  let draining = false;
  let wake = Promise.withResolvers<void>();
  let awaySince: number | undefined;
  const failing = new Set<Told>();
  let last: Promise<void> = Promise.resolve();

  async function beat(): Promise<void> {
    await lease.renew({ draining });
    await directory.refresh();
    peerSessions?.keep(directory.relays());
    onRead();
  }

  async function write(): Promise<void> {
    await lease.write();
    onWritten();
  }

  /** One after the other: none overtakes the one that says that this relay drains. */
  function tryBeat(): Promise<void> {
    last = last.then(() => attempt("lease", beat));
    return last;
  }

  async function attempt(told: Told, task: () => Promise<void>): Promise<void> {
    try {
      await task();
      failing.delete(told);
      if (awaySince === undefined || failing.size > 0) return;
      const seconds = Math.round((clock.now() - awaySince) / 1_000);
      awaySince = undefined;
      log.info({ event: "store.back", seconds }, "the store answers again");
    } catch (error) {
      failing.add(told);
      await directory.refresh().catch(() => undefined);
      if (awaySince !== undefined) return;
      awaySince = clock.now();
      log.error({ event: "store.away", ...errorFields(error) }, "the store does not answer; what is held goes on");
    }
  }

  async function keepLease(signal: AbortSignal): Promise<void> {
    while (await waitFor(options.intervalMs, signal)) {
      await tryBeat();
      // How many streams a tunnel has changes without a word.
      wake.resolve();
    }
  }

  async function keepTunnels(signal: AbortSignal): Promise<void> {
    const over = onAbort(signal, () => wake.resolve());
    while (!signal.aborted) {
      await wake.promise;
      if (signal.aborted) break;
      wake = Promise.withResolvers<void>();
      await attempt("tunnels", write);
      await waitFor(SETTLE_MS, signal);
    }
    over();
  }

  /** @returns whether it goes on after that time. */
  async function waitFor(ms: number, signal: AbortSignal): Promise<boolean> {
    await wait(ms, { signal }, { clock }).catch(() => undefined);
    return !signal.aborted;
  }

  return {
    async join() {
      await beat();
      await write();
    },
    changed: () => wake.resolve(),
    async drain() {
      draining = true;
      await tryBeat();
    },
    async run({ signal }) {
      await Promise.all([keepLease(signal), keepTunnels(signal)]);
    },
    async leave() {
      await lease.end().catch((error: unknown) => {
        log.warn({ event: "lease.kept", ...errorFields(error) }, "the lease could not be given up and ends by itself");
      });
    },
  };
}
